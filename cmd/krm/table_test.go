package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCellText(t *testing.T) {
	f := func(value any, want string) {
		t.Helper()
		if got := cellText(value); got != want {
			t.Errorf("%#v is shown as %q, want %q", value, got, want)
		}
	}
	f(nil, "")
	f("plain", "plain")
	f(int64(12345678), "12345678")
	f(true, "true")
	f(0.5, "0.5")
	f("one\ntwo", "one...")
	f("one\r\ntwo", "one...")
	f("\x1b[2Jgone\tnow", "^[[2Jgone now")
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := func(at time.Time, want string) {
		t.Helper()
		if got := age(at, now); got != want {
			t.Errorf("%v is %q, want %q", at, got, want)
		}
	}
	f(time.Time{}, "<unknown>")
	f(now, "0s")
	f(now.Add(time.Hour), "0s") // another clock
	f(now.Add(-90*time.Second), "90s")
	f(now.Add(-49*time.Hour), "2d1h")
}

func TestDecodeTableRefusesGarbage(t *testing.T) {
	for _, body := range []string{"", "[]", `{"kind":"Table","apiVersion":"meta.k8s.io/v1","rows":{}}`, `{"kind":"PodList","items":[7]}`} {
		if table, err := decodeTable([]byte(body), time.Now()); err == nil {
			t.Errorf("%q: got %+v, want an error", body, table)
		}
	}
	table := &metav1.Table{Rows: []metav1.TableRow{{}}}
	if err := printTable(io.Discard, table, tableStyle{namespaces: true}); err == nil {
		t.Error("a row without its object has a namespace")
	}
}

func TestShortRow(t *testing.T) {
	var got bytes.Buffer
	table := &metav1.Table{
		ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Name"}, {Name: "Age"}},
		Rows:              []metav1.TableRow{{Cells: []any{"web"}}, {Cells: []any{"db", "3d", "more"}}},
	}
	if err := printTable(&got, table, tableStyle{}); err != nil {
		t.Fatal(err)
	}
	if want := "NAME   AGE\nweb    \ndb     3d\n"; got.String() != want {
		t.Errorf("got %q, want %q", got.String(), want)
	}
}

func TestItemsRefuseGarbage(t *testing.T) {
	for _, body := range []string{"", "[]", `{"kind":"PodList","items":{}}`, `{"kind":"PodList","items":[null]}`, `{"kind":"PodList","items":[7]}`} {
		for _, format := range []string{"json", "yaml"} {
			objects, err := decodeItems([]byte(body))
			if err == nil {
				err = objects.print(io.Discard, format)
			}
			if err == nil {
				t.Errorf("%q as %s: want an error", body, format)
			}
		}
	}
}

func TestPrintTellsThatNobodyReads(t *testing.T) {
	objects, err := decodeItems([]byte(`{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"` + strings.Repeat("x", 1<<18) + `"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"json", "yaml", "name"} {
		if err := objects.print(closedPipe{}, format); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: got %v", format, err)
		}
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
