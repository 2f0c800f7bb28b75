package billing

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Requests as they come over a connection.
func TestWire(t *testing.T) {
	server := httptest.NewServer(handler(small(), Options{}))
	defer server.Close()
	f := func(request string, code int, says string) *http.Response {
		t.Helper()
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		request = strings.ReplaceAll(request, "\n", "\r\n")
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		method, _, _ := strings.Cut(request, " ")
		response, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%.80q: %v", request, err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != code || !strings.Contains(string(text), says) {
			t.Errorf("%.80q: %d %s %v, want %d %s", request, response.StatusCode, text, err, code, says)
		}
		var fault struct {
			Code    int
			Message string
		}
		if code != 200 && method != "HEAD" && (json.Unmarshal(text, &fault) != nil || fault.Code != code || fault.Message == "" || response.Header.Get("Content-Type") != "application/json") {
			t.Errorf("%.80q: the error is %s %v", request, text, response.Header)
		}
		return response
	}
	const keys = " HTTP/1.1\nHost: x\nConnection: close\nX-USERNAME: billing\nX-PASSWORD: correct horse\n"
	body := func(text, headers string) string {
		return keys + headers + fmt.Sprintf("Content-Length: %d\n\n", len(text)) + text
	}
	f("POST /api/cpu/usage_rate"+keys+"\n", 200, "[]")                            // no body at all
	f("POST /api/cpu/usage_rate"+body("", ""), 200, "[]")                         // an empty one
	f("POST /api/cpu/usage_rate"+body(`{"limit":5}`, ""), 200, "[]")              // no Content-Type
	f("POST /api/cpu/usage_rate"+body(`{}`, "Content-Type: text/x\n"), 200, "[]") // a wrong one: curl -d says that of a form
	f("POST /api/cpu/usage_rate"+body(`limit=5`, ""), 400, `body: limit=5: want a JSON object`)
	f("POST /api/cpu/usage_rate"+body("\xff\xfe", ""), 400, "JSON object")
	f("POST /api/cpu/usage_rate"+body("{\"namespace\":\"\xff\"}", ""), 400, "JSON object")
	f("POST /api/cpu/usage_rate"+body("\ufeff{}", ""), 200, "[]")
	f("POST /api/cpu/usage_rate"+body(`{"limit":1,"limit":2}`, ""), 400, `limit\": it is given twice`)
	f("POST /api/cpu/usage_rate"+body(`{"limit":1}]`, ""), 400, "JSON object")
	f("POST /api/cpu/usage_rate"+body(`{"limit":NaN}`, ""), 400, "JSON object")
	f("POST /api/cpu/usage_rate"+keys+"Transfer-Encoding: chunked\n\n2\n{}\n0\n\n", 200, "[]")
	long := fmt.Sprintf("%x\n%s\n0\n\n", maxBody+1, strings.Repeat(" ", maxBody+1))
	f("POST /api/cpu/usage_rate"+keys+"Transfer-Encoding: chunked\n\n"+long, 413, "64 KiB")
	f("POST /api/cpu/usage_rate"+keys+"Transfer-Encoding: chunked\n\nzz\n", 400, "ended early")
	f("POST /api/cpu/usage_rate"+keys+"Expect: 100-continue\nContent-Length: 99999999\n\n", 413, "64 KiB")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, "{}")
	_ = z.Close()
	response := f("POST /api/cpu/usage_rate"+keys+fmt.Sprintf("Content-Encoding: gzip\nContent-Length: %d\n\n", packed.Len()), 415, "gzip")
	if response.Header.Get("Accept-Encoding") != "identity" {
		t.Error(response.Header)
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "BREW"} {
		for _, path := range []string{"/api/cpu/usage_rate", "/api/report"} {
			if response := f(method+" "+path+keys+"\n", 405, ""); response.Header.Get("Allow") != "POST" {
				t.Errorf("%s: Allow is %q", method, response.Header.Get("Allow"))
			}
		}
	}
	f("POST /api/cpu/usage_rate HTTP/1.0\nX-USERNAME: billing\nX-PASSWORD: correct horse\n\n", 200, "[]")
	f("POST /api/cpu/usage_rate HTTP/1.1\nHost: x\nConnection: close\nx-username: billing\nx-password: correct horse\n\n", 200, "[]")
	f("POST /api/cpu/usage_rate HTTP/1.1\nHost: x\nConnection: close\n\n", 401, "X-USERNAME")
	f("POST /api/nothing HTTP/1.1\nHost: x\nConnection: close\n\n", 401, "X-USERNAME") // who may not ask learns nothing
	f("POST /api/nothing"+keys+"\n", 404, "nearest")
	f("POST /api/%00%0a%ff"+keys+"\n", 404, "nearest")
	f("POST /api/"+strings.Repeat("x", 4000)+keys+"\n", 404, "…")
}
