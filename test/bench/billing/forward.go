package main

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// forward passes a request on to target and its answer back, and returns the statement
// that it asks for and how long the answer is.
func forward(w http.ResponseWriter, r *http.Request, target string) (statement string, size int64) {
	statement = r.Method + " " + r.URL.Path
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return statement, 0
	}
	statement = statementOf(r, body)
	request, err := http.NewRequestWithContext(r.Context(), r.Method, target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return statement, 0
	}
	request.Header = r.Header.Clone()
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return statement, 0
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	size, _ = io.Copy(w, answer.Body) // who went away need not be told
	return statement, size
}

// statementOf is the query of a request without its moments, with its parameters where
// they are short.
func statementOf(r *http.Request, body []byte) string {
	form := r.URL.Query()
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if more, err := url.ParseQuery(string(body)); err == nil {
			for name, values := range more {
				form[name] = append(form[name], values...)
			}
		}
	}
	text := form.Get("q")
	switch params := form.Get("params"); {
	case text == "":
		return r.Method + " " + r.URL.Path
	case params != "" && len(params) < 200:
		text += " " + params
	}
	return moment.ReplaceAllString(text, "T")
}

// moment is a time as it stands in statements.
var moment = regexp.MustCompile(`\b[0-9]{18,19}\b`)
