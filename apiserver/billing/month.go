package billing

import (
	"net/http"
	"regexp"
	"sort"
	"strings"
	"time"
	_ "time/tzdata" // months in time zones are the same on hosts that have none
)

// question is what POST /api/report is asked.
type question struct {
	from, to time.Time
	month    string // "" for explicit bounds
	zone     *time.Location
	by       string // namespace, pod, container or label
	label    string // of by label: its key
	csv      bool
	cluster  string
	tariff   *Tariff // nil if there are no prices for the interval
}

const wantBy = `"namespace", "pod", "container" or "label:KEY"`

func (a *API) parseQuestion(q request) (asked question, err error) {
	fields, err := readBody(q, "month", "timezone", "by", "format", "cluster", beginField, endField)
	if err != nil {
		return asked, err
	}
	by, err := fields.text("by", "namespace", wantBy)
	if err != nil {
		return asked, err
	}
	asked.by = by
	if key, ok := strings.CutPrefix(by, "label:"); ok && key != "" && len(key) <= 400 {
		asked.by, asked.label = "label", key
	} else if by != "namespace" && by != "pod" && by != "container" {
		return asked, badField("by", fields["by"], wantBy)
	}
	format, err := fields.text("format", "", `"json" or "csv"`)
	switch {
	case err != nil:
		return asked, err
	case format == "":
		asked.csv = wantsCSV(q)
	case format != "json" && format != "csv":
		return asked, badField("format", fields["format"], `"json" or "csv"`)
	default:
		asked.csv = format == "csv"
	}
	if asked.cluster, err = fields.text("cluster", "", "the cluster_name of a cluster"); err != nil {
		return asked, err
	}
	if err = asked.readInterval(fields, q.now); err != nil {
		return asked, err
	}
	asked.tariff, err = a.options.Prices.tariff(asked.from, asked.to, asked.zone)
	return asked, err
}

const wantZone = `the name of a time zone, such as "Europe/Zurich"; "UTC" by default`

var zoneName = regexp.MustCompile(`^[A-Za-z][-A-Za-z0-9_+]*(/[A-Za-z0-9][-A-Za-z0-9_+]*){0,2}$`)

// readInterval reads the month, or both bounds; by default it is the last whole month.
func (asked *question) readInterval(fields body, now time.Time) error {
	name, err := fields.text("timezone", "UTC", wantZone)
	if err != nil {
		return err
	}
	if name == "Local" || len(name) > 64 || !zoneName.MatchString(name) {
		return badField("timezone", fields["timezone"], wantZone)
	}
	if asked.zone, err = time.LoadLocation(name); err != nil {
		return badField("timezone", fields["timezone"], wantZone)
	}
	_, begin := fields[beginField]
	_, end := fields[endField]
	switch {
	case fields["month"] != nil && (begin || end):
		return badField("month", fields["month"], "either a month, or "+beginField+" and "+endField)
	case begin != end:
		return faultf(http.StatusBadRequest, "%s, %s: one of them is given: want both, or a month", beginField, endField)
	case begin:
		asked.from, asked.to, err = fields.interval(now, asked.zone)
		return err
	}
	return asked.readMonth(fields, now)
}

const wantMonth = `a month from 1970-02 to 2199-11, as "2006-01"`

func (asked *question) readMonth(fields body, now time.Time) error {
	here := now.In(asked.zone)
	last := time.Date(here.Year(), here.Month()-1, 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
	text, err := fields.text("month", last, wantMonth)
	if err != nil {
		return err
	}
	month, err := time.Parse("2006-01", text)
	if err != nil || len(text) != 7 || month.Before(earliest.AddDate(0, 1, 0)) || !month.Before(latest.AddDate(0, -1, 0)) {
		return badField("month", fields["month"], wantMonth)
	}
	asked.month = text
	asked.from, asked.to = monthBegin(month.Year(), month.Month(), asked.zone), monthBegin(month.Year(), month.Month()+1, asked.zone)
	return nil
}

// monthBegin is the first second of a month in a zone. A month ends where the next one
// begins.
func monthBegin(year int, month time.Month, zone *time.Location) time.Time {
	first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	return dayBegin(Date{first.Year(), first.Month(), 1}, zone)
}

// dayBegin is the first second of a day in a zone, also where its midnight is left out or
// comes twice.
func dayBegin(day Date, zone *time.Location) time.Time {
	begun := func(t time.Time) bool {
		here := t.In(zone)
		return Date{here.Year(), here.Month(), here.Day()}.compare(day) >= 0
	}
	const around = 26 * 3600 // no zone is further from UTC
	early := time.Date(day.Year, day.Month, day.Day, 0, 0, 0, 0, time.UTC).Unix() - around
	n := sort.Search(2*around, func(i int) bool { return begun(time.Unix(early+int64(i), 0)) })
	return time.Unix(early+int64(n), 0).UTC()
}
