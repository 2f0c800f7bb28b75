package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// start is one way to start krm apiserver, and what must come of it.
type start struct {
	name  string
	env   []string
	args  []string
	fails []string // it must not start, and say these
	code  int      // of the question; 200 if 0
	rows  bool     // with the month's figures, for 200
	as    [2]string
}

// startsPart starts processes with every variable that the original had: a flag goes
// before KRM_…, that before the original's, that before the default.
func startsPart(ctx context.Context, c *checker, s *side) error {
	at, err := url.Parse(s.cfg.influxURL)
	if err != nil {
		return err
	}
	redis, err := process.StartRedis(ctx, s.cfg.redis, s.path("redis"), s.path("redis.log"))
	if err != nil {
		return err
	}
	defer redis.Stop()
	for i, one := range s.starts(at) {
		c.ok("start with "+one.name, s.tryStart(ctx, i, redis.Addr(), &one))
	}
	return s.apartPart(ctx, c, redis.Addr())
}

func (s *side) starts(at *url.URL) []start {
	user, password := s.cfg.influxUser, s.cfg.influxPassword
	host, port := "INFLUXDB_HOST="+at.Hostname(), "INFLUXDB_PORT="+at.Port()
	right := []string{host, port, "INFLUXDB_USER=" + user, "INFLUXDB_PASS=" + password, "INFLUXDB_DB=" + database}
	wrong := []string{"INFLUXDB_HOST=127.0.0.9", "INFLUXDB_PORT=9", "INFLUXDB_USER=nobody", "INFLUXDB_PASS=nothing", "INFLUXDB_DB=nowhere"}
	is := func(name, value string) string { return name + "=" + value }
	where := func(query string) string {
		return "influxdb:" + at.Scheme + "://" + at.Host + "?db=" + database + query
	}
	files := map[string]string{}
	file := func(name, text string) string {
		files[name] = s.path(name)
		_ = os.WriteFile(files[name], []byte(text), 0o600) // a fault shows: nothing can be read
		return files[name]
	}
	pw := file("start-password", password+"\n")
	other := [2]string{"someone", "else's"}
	return []start{
		{name: "INFLUXDB_… alone", env: right, rows: true},
		{name: "INFLUXDB_… with a wrong password", env: append(right[:4:4], "INFLUXDB_PASS=no", "INFLUXDB_DB="+database), code: http.StatusServiceUnavailable},
		{name: "--metric-db before INFLUXDB_…", env: append(wrong, is("KRM_INFLUX_PASSWORD", password)), args: []string{"--metric-db=" + where("&user="+user)}, rows: true},
		{name: "KRM_METRIC_DB before INFLUXDB_…", env: append(wrong, is("KRM_METRIC_DB", where("&user="+user)), is("KRM_INFLUX_PASSWORD", password)), rows: true},
		{name: "--metric-db before KRM_METRIC_DB", env: append(right, "KRM_METRIC_DB=influxdb:http://127.0.0.9:9"), args: []string{"--metric-db=" + where("")}, rows: true},
		{name: "KRM_INFLUX_USER before INFLUXDB_USER", env: []string{host, port, "INFLUXDB_DB=" + database, "INFLUXDB_USER=nobody", is("KRM_INFLUX_USER", user), is("INFLUXDB_PASS", password)}, rows: true},
		{name: "KRM_INFLUX_PASSWORD before INFLUXDB_PASS", env: []string{host, port, "INFLUXDB_DB=" + database, is("INFLUXDB_USER", user), "INFLUXDB_PASS=no", is("KRM_INFLUX_PASSWORD", password)}, rows: true},
		{name: "a password file before both", env: append(right, "INFLUXDB_PASS=no", "KRM_INFLUX_PASSWORD=no"), args: []string{"--metric-db-password-file=" + pw}, rows: true},
		{name: "KRM_METRIC_DB_PASSWORD_FILE", env: append(right, "INFLUXDB_PASS=no", is("KRM_METRIC_DB_PASSWORD_FILE", pw)), rows: true},
		{name: "INFLUXDB_DB of a database without samples", env: append(right, "INFLUXDB_DB="+database+"_empty")},
		{name: "a database of --metric-db before INFLUXDB_DB", env: append(right, "INFLUXDB_DB=nowhere"), args: []string{"--metric-db=" + where("")}, rows: true},
		{name: "an unknown option", env: right, args: []string{"--metric-db=" + where("&nosuch=1")}, fails: []string{"nosuch", "cluster_name"}},
		{name: "a password file that is not there", env: right, args: []string{"--metric-db-password-file=/no/such/file"}, fails: []string{"--metric-db-password-file", "/no/such/file"}},
		{name: "the embedded database in an apiserver", args: []string{"--metric-db=embedded"}, fails: []string{"embedded", "standalone"}},

		{name: "no API_USERNAME and no API_PASSWORD", env: append(right, "API_USERNAME=", "API_PASSWORD="), code: http.StatusUnauthorized},
		{name: "another API_USERNAME", env: append(right, "API_USERNAME=someone"), code: http.StatusUnauthorized},
		{name: "other credentials", env: append(right, is("API_USERNAME", other[0]), is("API_PASSWORD", other[1])), as: other, rows: true},
		{
			name: "credentials' files before the environment", env: append(right, "API_USERNAME=no", "API_PASSWORD=no"), rows: true,
			args: []string{"--api-username-file=" + file("start-api-user", username+"\n"), "--api-password-file=" + file("start-api-password", "s3cret of billing\n")},
		},
		{name: "a credential's file that is not there", env: right, args: []string{"--api-password-file=/no/such/file"}, fails: []string{"/no/such/file"}},
		{name: "prices that are wrong", env: right, args: []string{"--prices=" + file("start-prices", "currency: CHF\nprices: {nosuch: 1}\n")}, fails: []string{"nosuch", "cpu_billed_core_hours"}},
	}
}

// tryStart starts a process and asks it.
func (s *side) tryStart(ctx context.Context, i int, redis string, one *start) error {
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	log := s.path(fmt.Sprintf("start-%d.log", i))
	p, err := process.Start(process.Spec{
		Name: one.name, Path: s.cfg.krm, Log: log, Env: credentials(one.env...),
		Args: append([]string{"apiserver", "--redis-addr=" + redis, fmt.Sprintf("--listen=127.0.0.1:%d", port)}, one.args...),
	})
	if err != nil {
		return err
	}
	defer p.Stop(10 * time.Second)
	if len(one.fails) > 0 {
		return refused(ctx, p, log, one.fails)
	}
	a := newAsker(fmt.Sprintf("http://127.0.0.1:%d", port), &http.Transport{})
	if err := answering(ctx, a, p); err != nil {
		return errors.Join(err, errors.New(process.Tail(log, 5)))
	}
	as := one.as
	if as[0] == "" {
		as = [2]string{username, password}
	}
	q := question{metric: "cpu/usage_rate", agg: "all-pod", from: s.month.begin, to: s.month.end()}
	got, err := a.post(ctx, "/api/"+q.metric, q.body(s.month), "X-USERNAME", as[0], "X-PASSWORD", as[1])
	if code := max(one.code, http.StatusOK); err != nil || got.code != max(code, one.code) {
		return fmt.Errorf("%d, want %d: %.200s: %w", got.code, code, got.body, err)
	}
	var rows []row
	if got.code != http.StatusOK {
		return nil
	}
	if err := decode(got.body, &rows); err != nil || (len(rows) > 0) != one.rows {
		return fmt.Errorf("%d rows: %w", len(rows), err)
	}
	return nil
}

// refused waits until a process has ended with an error that says why.
func refused(ctx context.Context, p *process.Process, log string, says []string) error {
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		return errors.New("it started")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	if p.Err() == nil {
		return errors.New("it ended with exit status 0")
	}
	for _, word := range says {
		if !strings.Contains(string(text), word) {
			return fmt.Errorf("it does not say %q: %.400s", word, text)
		}
	}
	return nil
}

// logsPart starts processes with --log-dir.
func logsPart(ctx context.Context, c *checker, st *stage) {
	dir := st.path("logs")
	c.ok("--log-dir", st.logs(ctx, dir))
	if err := os.WriteFile(st.path("occupied"), nil, 0o600); err != nil {
		c.ok("--log-dir", err)
	}
	for folder, says := range map[string]string{st.path("occupied"): "run: ", st.path("occupied/below"): "run: ", "/proc/krm-logs": "/proc"} { // nothing mends /proc
		log := st.path("no-logs-" + filepath.Base(folder) + ".log")
		p, err := process.Start(process.Spec{Name: "krm", Path: st.cfg.krm, Log: log, Env: credentials(), Args: st.standalone(0, "--log-dir="+folder)})
		if err == nil {
			err = refused(ctx, p, log, []string{"--log-dir=" + folder, says})
			p.Stop(time.Second)
		}
		c.ok("--log-dir="+folder, err)
	}
}

// logs has a process log into dir, where a log that is full must be rotated.
func (st *stage) logs(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	const full = 10 << 20
	if err := os.WriteFile(filepath.Join(dir, "info.log"), []byte(strings.Repeat("an old line of 32 bytes, with LF\n", full/33)), 0o644); err != nil {
		return err
	}
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	log := st.path("log-dir.log")
	p, err := process.Start(process.Spec{
		// Nothing listens there: that is an error or a warning.
		Name: "krm", Path: st.cfg.krm, Log: log, Env: credentials(), Args: st.standalone(port, "--log-dir="+dir, "--metric-db=influxdb:http://127.0.0.1:9?db=x", "--log-level=info"),
	})
	if err != nil {
		return err
	}
	defer p.Stop(10 * time.Second)
	return process.Poll(ctx, 40*time.Second, "logs in "+dir, func(context.Context) error {
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		info, err := os.ReadFile(filepath.Join(dir, "info.log"))
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, "errors.log")); err != nil {
			return err
		}
		beside, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		last := strings.LastIndex(strings.TrimSpace(string(info)), "\n")
		if len(info) == 0 || len(info) >= full || len(files) < 3 || len(beside) == 0 {
			return fmt.Errorf("info.log has %d bytes, there are %d files, and %d bytes of standard output; the last line is %.100s", len(info), len(files), len(beside), info[last+1:])
		}
		return nil
	})
}
