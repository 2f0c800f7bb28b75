package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/spf13/pflag"
)

// fakeInflux is an InfluxDB of which only is seen who asks for what:
// "USER:PASSWORD DATABASE", of version 2 "TOKEN ORG/BUCKET".
func fakeInflux(t *testing.T) (host, port string, asked <-chan string) {
	t.Helper()
	seen := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		said := ""
		switch r.URL.Path {
		case "/query":
			form, _ := url.ParseQuery(string(body))
			user, password, _ := r.BasicAuth()
			said = user + ":" + password + " " + form.Get("db")
		case "/api/v2/query":
			_, bucket, _ := strings.Cut(string(body), `from(bucket: \"`)
			bucket, _, _ = strings.Cut(bucket, `\"`)
			said = strings.TrimPrefix(r.Header.Get("Authorization"), "Token ") + " " + r.URL.Query().Get("org") + "/" + strings.TrimSuffix(bucket, "-krm")
		}
		if said != "" {
			select {
			case seen <- said:
			default:
			}
		}
		if r.URL.Path == "/query" {
			fmt.Fprintln(w, `{"results":[{"statement_id":0}]}`)
		}
	}))
	t.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return host, port, seen
}

// runningKRM is a process that a test runs, by its command line.
type runningKRM struct {
	address string
	stop    context.CancelFunc
	ended   chan int
	stderr  bytes.Buffer
}

// startKRM runs krm as main does. What the process needs beside is there: Redis, and a
// cluster whose API server knows nothing.
func startKRM(t *testing.T, process string, args ...string) *runningKRM {
	t.Helper()
	api := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(api.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := "clusters: [{name: a, cluster: {server: '" + api.URL + "'}}]\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &runningKRM{address: freeAddress(t), ended: make(chan int, 1)}
	all := []string{process, "--listen=" + r.address, "--log-level=error"}
	if process != "aggregator" {
		all = append(all, "--kubeconfig="+kubeconfig)
	}
	if process != "standalone" {
		all = append(all, "--redis-addr="+miniredis.RunT(t).Addr())
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	t.Cleanup(cancel)
	go func() { r.ended <- execute(ctx, append(all, args...), io.Discard, &r.stderr) }()
	return r
}

// end stops the process, which must succeed.
func (r *runningKRM) end(t *testing.T) {
	t.Helper()
	r.stop()
	select {
	case code := <-r.ended:
		if code != 0 {
			t.Errorf("exit code %d: %s", code, r.stderr.String())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
}

// ask sends POST /api/cpu/usage_rate, and returns the status; 0 if nobody answers.
func (r *runningKRM) ask(t *testing.T, username, password string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.address+"/api/cpu/usage_rate", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-USERNAME", username)
	request.Header.Set("X-PASSWORD", password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// The order is flag, KRM_…, INFLUXDB_…, default, for every process alike.
func TestEnvironmentOfTheMetricDatabase(t *testing.T) {
	host, port, asked := fakeInflux(t)
	here := "influxdb:http://" + net.JoinHostPort(host, port)
	dir := t.TempDir()
	password, token := filepath.Join(dir, "password"), filepath.Join(dir, "token")
	for file, text := range map[string]string{password: "of file\n", token: "token-of-file\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	with := func(environment map[string]string, more ...string) map[string]string {
		environment = maps.Clone(environment)
		for i := 0; i < len(more); i += 2 {
			environment[more[i]] = more[i+1]
		}
		return environment
	}
	f := func(processes string, environment map[string]string, args []string, want string) {
		t.Helper()
		for process := range strings.FieldsSeq(processes) {
			name := process + " " + want
			t.Run(name, func(t *testing.T) {
				for name, value := range environment {
					t.Setenv(name, value)
				}
				t.Setenv("API_USERNAME", "bill")
				t.Setenv("API_PASSWORD", "secret")
				for len(asked) > 0 {
					<-asked // of the process before
				}
				r := startKRM(t, process, args...)
				for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
					select {
					case got := <-asked:
						if got != want {
							t.Errorf("%v %v: %q asked, want %q", environment, args, got, want)
						}
						r.end(t)
						return
					case code := <-r.ended:
						t.Fatalf("exit code %d: %s", code, r.stderr.String())
					default:
					}
					if process != "collector" {
						r.ask(t, "bill", "secret")
					}
					if time.Now().After(deadline) {
						t.Fatal("the database was not asked")
					}
				}
			})
		}
	}
	const all = "collector apiserver standalone"
	old := map[string]string{"INFLUXDB_HOST": host, "INFLUXDB_PORT": port}
	f(all, old, nil, "root:root k8s")
	old = with(old, "INFLUXDB_USER", "u", "INFLUXDB_PASS", "p", "INFLUXDB_DB", "d")
	f(all, old, nil, "u:p d")
	ours := with(old, "KRM_INFLUX_USER", "ku", "KRM_INFLUX_PASSWORD", "kp")
	f(all, ours, nil, "ku:kp d")
	ours = with(ours, "INFLUXDB_HOST", "127.0.0.1", "INFLUXDB_PORT", "1", "KRM_METRIC_DB", here+"?user=url&db=url")
	f(all, ours, nil, "url:kp url")
	f(all, with(ours, "KRM_METRIC_DB_PASSWORD_FILE", password), nil, "url:of file url")
	f(all, with(ours, "KRM_METRIC_DB", "influxdb:http://127.0.0.1:1"), []string{"--metric-db=" + here + "?user=flag&db=flag"}, "flag:kp flag")
	f(all, with(ours, "KRM_METRIC_DB_PASSWORD_FILE", "/does/not/exist"), []string{"--metric-db-password-file=" + password}, "url:of file url")
	f(all, with(ours, "KRM_METRIC_DB_PASSWORD_FILE", ""), nil, "url:kp url") // an empty one is none

	second := with(map[string]string{}, "INFLUXDB_HOST", host, "INFLUXDB_PORT", port, "INFLUXDB_TOKEN", "t", "INFLUXDB_ORG", "o", "INFLUXDB_BUCKET", "b")
	f(all, second, nil, "t o/b")
	second = with(second, "KRM_INFLUX_TOKEN", "kt")
	f(all, second, nil, "kt o/b")
	f(all, second, []string{"--metric-db=" + here + "?org=fo&bucket=fb", "--metric-db-token-file=" + token}, "token-of-file fo/fb")

	const writers = "collector standalone"
	f(writers, old, []string{"--sink=" + here + "?pw=literal"}, "u:literal d")
	f(writers, with(old, "KRM_SINK", "log: "+here+"?user=a&pw=b&db=c"), nil, "a:b c")
	f(writers, with(old, "OF_A_SECRET", "a&b#?%$x "), []string{"--sink=" + here + "?pw=$OF_A_SECRET"}, "u:a&b#?%$x  d")
	f(writers, with(old, "WHERE", host+":"+port), []string{"--sink=influxdb:http://$WHERE?db=x"}, "u:p x")
}

// Who may bill is told by the environment, or by files, which go before.
func TestEnvironmentOfBilling(t *testing.T) {
	username, password := filepath.Join(t.TempDir(), "username"), filepath.Join(t.TempDir(), "password")
	for file, text := range map[string]string{username: "file\n", password: "of file\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := fakeInflux(t)
	t.Setenv("INFLUXDB_HOST", host)
	t.Setenv("INFLUXDB_PORT", port)
	t.Setenv("API_USERNAME", "old")
	t.Setenv("API_PASSWORD", "of old")
	f := func(process, username, password string, args ...string) {
		t.Helper()
		r := startKRM(t, process, args...)
		status := 0
		for deadline := time.Now().Add(20 * time.Second); status == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			status = r.ask(t, username, password)
		}
		if status == 0 || status == http.StatusUnauthorized { // that the database is none is another matter
			t.Errorf("%s %v: %s is answered %d", process, args, username, status)
		}
		if status := r.ask(t, username, "x"+password); status != http.StatusUnauthorized {
			t.Errorf("%s %v: a wrong password is answered %d", process, args, status)
		}
		r.end(t)
	}
	for _, process := range []string{"apiserver", "standalone"} {
		f(process, "old", "of old")
		f(process, "file", "of file", "--api-username-file="+username, "--api-password-file="+password)
	}
	t.Setenv("KRM_API_USERNAME_FILE", username)
	t.Setenv("KRM_API_PASSWORD_FILE", password)
	f("apiserver", "file", "of file")
}

// A password on the command line works, and everybody is warned, without it.
func TestLiteralPasswordsAreNotShown(t *testing.T) {
	host, port, asked := fakeInflux(t)
	sink := "--sink=influxdb:http://" + net.JoinHostPort(host, port) + "?pw=hunter2"
	dir := t.TempDir()
	r := startKRM(t, "collector", sink, "--log-dir="+dir)
	select {
	case got := <-asked:
		if got != "root:hunter2 k8s" {
			t.Errorf("%q asked", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("the database was not asked")
	}
	r.end(t)
	log, err := os.ReadFile(filepath.Join(dir, "info.log"))
	if err != nil || !strings.Contains(string(log), "pw= in the URL is seen by everyone") || strings.Contains(string(log), "hunter2") {
		t.Errorf("%v, info.log has\n%s", err, log)
	}
	f := func(args ...string) {
		t.Helper()
		code, stdout, stderr := invoke(t, args...)
		if code != 2 || strings.Contains(stdout+stderr, "hunter2") {
			t.Errorf("%v: exit code %d, says %s%s", args, code, stdout, stderr)
		}
	}
	redis := "--redis-addr=" + miniredis.RunT(t).Addr()
	f("collector", redis, sink, sink)
	f("collector", redis, sink, "--metric-db=influxdb:http://a?pw=hunter2")
	f("collector", redis, sink+"&nothing=1")
	f("collector", redis, "--sink=influxdb:http://user:hunter2@a")
	f("collector", redis, "--sink=influxdb:http://a:b?pw=hunter2")
	f("collector", redis, "--metric-db=influxdb:http://user:hunter2@a")
	f("collector", redis, "--metric-db=influxdb:http://%zz?pw=hunter2")
}

func TestBindEnvironment(t *testing.T) {
	f := func(variable, text, flag, want string, args ...string) {
		t.Helper()
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		fs.StringArray("many", []string{"default"}, "")
		fs.StringSlice("several", []string{"default"}, "")
		fs.Int("heapster-port", 1, "")
		fs.Bool("version", false, "")
		fs.String("one", "default", "")
		if err := fs.Parse(args); err != nil {
			t.Fatal(err)
		}
		lookup := func(name string) (string, bool) { return map[string]string{variable: text}[name], name == variable }
		if err := bindEnvironment(fs, lookup); err != nil {
			t.Errorf("%s=%s: %v", variable, text, err)
		}
		if got := fs.Lookup(flag).Value.String(); got != want {
			t.Errorf("%s=%s: --%s is %s, want %s", variable, text, flag, got, want)
		}
	}
	f("KRM_MANY", "a:?x=1,2  b:\nc:", "many", `["a:?x=1,2",b:,c:]`)
	f("KRM_MANY", "a", "many", "[b,c]", "--many=b", "--many=c")
	f("KRM_MANY", " ", "many", "[default]")
	f("KRM_SEVERAL", "a,b", "several", "[a,b]")
	f("KRM_ONE", "a b", "one", "a b")
	f("KRM_ONE", "", "one", "default")
	f("KRM_HEAPSTER_PORT", "7", "heapster-port", "7")
	f("KRM_HEAPSTER_PORT", "tcp://10.0.0.1:80", "heapster-port", "1") // a Service krm-heapster
	f("KRM_VERSION", "v1.2.3", "version", "false")
}

func TestLogDir(t *testing.T) {
	t.Setenv("INFLUXDB_HOST", "")
	for _, process := range []string{"streamer", "verifier", "aggregator", "apiserver", "collector", "standalone"} {
		dir := filepath.Join(t.TempDir(), "logs")
		t.Setenv("KRM_LOG_DIR", dir)
		r := startKRM(t, process)
		answers := func() bool {
			response, err := http.Get("http://" + r.address + "/metrics") //nolint:noctx // a test's
			if err != nil {
				return false
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			return err == nil && strings.Contains(string(body), `krm_log_file_errors_total{file="info.log"} 0`)
		}
		for deadline := time.Now().Add(20 * time.Second); !answers(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not serve the metric", process)
			}
		}
		r.end(t)
		log, err := os.ReadFile(filepath.Join(dir, "info.log"))
		if err != nil || !strings.Contains(string(log), r.address) || !strings.Contains(string(log), "the process ended") {
			t.Errorf("%s: %v, info.log has\n%s", process, err, log)
		}
	}
}

// What ends a process is in its files, too.
func TestLogDirHasTheEnd(t *testing.T) {
	dir := t.TempDir()
	code, _, stderr := invoke(t, "streamer", "--log-dir="+dir, "--redis-password-file=/does/not/exist")
	log, err := os.ReadFile(filepath.Join(dir, "errors.log"))
	if code != 2 || err != nil || !strings.Contains(string(log), "/does/not/exist") || !strings.Contains(stderr, "/does/not/exist") {
		t.Errorf("exit code %d, says %s; %v, errors.log has\n%s", code, stderr, err, log)
	}
	code, _, stderr = invoke(t, "streamer", "--log-dir=/dev/null/logs")
	if code != 2 || !strings.Contains(stderr, "--log-dir=/dev/null/logs") {
		t.Errorf("exit code %d, says %s", code, stderr)
	}
}
