package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	"pgregory.net/rapid"
)

// world is a cluster with one user, of token t, who may list pods in a.
func world(t *testing.T) (*fake, *Guard) {
	f := newFake()
	f.tokens["t"] = authenticationv1.UserInfo{Username: "u", Groups: []string{"g"}}
	f.rights["u list pods a/"] = true
	return f, guarded(t, f)
}

func expect(t *testing.T, g *Guard, token, what string, want int) (warning string) {
	t.Helper()
	status, warning := get(t, g, token, what)
	if status != want {
		t.Errorf("%s: %d, want %d", what, status, want)
	}
	return warning
}

func asked(t *testing.T, f *fake, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, f.took()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestAnAllowIsBelievedForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := world(t)
		expect(t, g, "t", "list pods a/", 200)
		asked(t, f, "token t", "u list pods /", "u list pods a/")
		time.Sleep(10*time.Second - time.Nanosecond)
		expect(t, g, "t", "list pods a/", 200)
		asked(t, f)
		time.Sleep(time.Nanosecond)
		f.rights["u list pods a/"] = false
		expect(t, g, "t", "list pods a/", 403)
		asked(t, f, "token t", "u list pods /", "u list pods a/")
	})
}

func TestAnAllowCoversWhatIsBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := world(t)
		f.rights["u get pods /"] = true
		f.rights["u get secrets a/one"] = true
		expect(t, g, "t", "get pods b/x", 200)
		expect(t, g, "t", "get pods c/y", 200)
		asked(t, f, "token t", "u get pods /")
		expect(t, g, "t", "get secrets a/one", 200)
		asked(t, f, "u get secrets /", "u get secrets a/", "u get secrets a/one")
		expect(t, g, "t", "get secrets a/two", 403)
		f.took()
		expect(t, g, "t", "list pods a/", 200)
		expect(t, g, "t", "list pods /", 403) // a part is not the whole
		expect(t, g, "t", "list pods b/", 403)
		expect(t, g, "t", "watch pods a/", 403)
	})
}

func TestDenialsAreAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := world(t)
		expect(t, g, "t", "list pods b/", 403)
		expect(t, g, "x", "list pods b/", 401)
		f.rights["u list pods b/"] = true
		f.tokens["x"] = f.tokens["t"]
		expect(t, g, "t", "list pods b/", 200)
		expect(t, g, "x", "list pods b/", 200)
	})
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := world(t)
		f.tokens["other"] = authenticationv1.UserInfo{Username: "o"}
		expect(t, g, "t", "list pods a/", 200)
		expect(t, g, "other", "list pods a/", 403)
		f.away = errDown
		if warning := expect(t, g, "t", "list pods a/", 200); warning != "" {
			t.Errorf("a fresh allow warns: %s", warning)
		}
		time.Sleep(time.Minute)
		warning := expect(t, g, "t", "list pods a/", 200)
		if want := "the API server cannot be asked now who may read this; what it allowed 1m0s ago holds for 4m0s more"; warning != want {
			t.Errorf("warning %q, want %q", warning, want)
		}
		expect(t, g, "t", "list pods b/", 503) // out of ignorance nobody is forbidden anything
		expect(t, g, "other", "list pods a/", 503)
		expect(t, g, "new", "list pods a/", 503)
		time.Sleep(4*time.Minute - time.Second)
		expect(t, g, "t", "list pods a/", 200)
		time.Sleep(time.Second)
		expect(t, g, "t", "list pods a/", 503)
		f.away = nil
		time.Sleep(awayFor)
		if warning := expect(t, g, "t", "list pods a/", 200); warning != "" {
			t.Errorf("warns after the outage: %s", warning)
		}
	})
}

func TestADenialEndsWhatHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := world(t)
		expect(t, g, "t", "list pods a/", 200)
		time.Sleep(20 * time.Second)
		f.rights["u list pods a/"] = false
		expect(t, g, "t", "list pods a/", 403)
		f.away = errDown
		time.Sleep(time.Second)
		expect(t, g, "t", "list pods a/", 503)
	})
}

func TestAStalledServerHoldsNobodyUpForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := world(t)
		expect(t, g, "t", "list pods a/", 200)
		f.slow = time.Hour
		time.Sleep(time.Minute)
		for range 20 {
			began := time.Now()
			expect(t, g, "t", "list pods a/", 200)
			if took := time.Since(began); took > 2*patience {
				t.Errorf("a known user waited %v", took)
			}
			time.Sleep(300 * time.Millisecond)
		}
		began := time.Now()
		expect(t, g, "new", "list pods a/", 503)
		if took := time.Since(began); took > reviewTimeout {
			t.Errorf("an unknown user waited %v", took)
		}
		time.Sleep(reviewTimeout) // what is under way ends
	})
}

func TestOneReviewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := world(t)
		f.slow = time.Second
		first, leave := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := g.Authenticate(first, byToken("t")); code(err) != 0 {
				t.Errorf("who left got %v", err)
			}
		})
		synctest.Wait()
		for range 100 {
			group.Go(func() { expect(t, g, "t", "list pods a/", 200) })
		}
		synctest.Wait()
		leave() // the others still get their answer
		group.Wait()
		asked(t, f, "token t", "u list pods /", "u list pods a/")
	})
}

func TestReviewsUnderWayAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := world(t)
		f.slow = 2 * time.Second
		var group sync.WaitGroup
		var answers sync.Map
		for i := range 200 {
			group.Go(func() {
				_, err := g.Authenticate(t.Context(), byToken(fmt.Sprintf("bad-%d", i)))
				n, _ := answers.LoadOrStore(code(err), new(int))
				f.set(func() { *n.(*int)++ })
			})
		}
		group.Wait()
		if f.most != concurrent {
			t.Errorf("%d questions at once, want %d", f.most, concurrent)
		}
		// Two rounds of 50 are answered within the time of a review; the rest has waited for it.
		unknown, _ := answers.Load(401)
		ignorant, _ := answers.Load(503)
		if *unknown.(*int) != 100 || *ignorant.(*int) != 100 {
			t.Errorf("401: %d, 503: %d; want 100 each", *unknown.(*int), *ignorant.(*int))
		}
		time.Sleep(reviewTimeout)
	})
}

func TestATokenHoldsNoLongerThanItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, g := world(t)
		claims := fmt.Sprintf(`{"exp":%d}`, time.Now().Add(90*time.Second).Unix())
		token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
		f.tokens[token] = f.tokens["t"]
		expect(t, g, token, "list pods a/", 200)
		expect(t, g, "t", "list pods a/", 200)
		f.away = errDown
		time.Sleep(80 * time.Second)
		expect(t, g, token, "list pods a/", 200)
		time.Sleep(11 * time.Second)
		expect(t, g, token, "list pods a/", 503)
		expect(t, g, "t", "list pods a/", 200)
	})
}

func TestUsersAreToldApart(t *testing.T) {
	f := newFake()
	f.tokens["1"] = authenticationv1.UserInfo{Username: "u", Groups: []string{"a", "b"}}
	f.tokens["2"] = authenticationv1.UserInfo{Username: "u", Groups: []string{"a b"}}
	f.tokens["3"] = authenticationv1.UserInfo{Username: "u", Groups: []string{"a"}, Extra: map[string]authenticationv1.ExtraValue{"b": nil}}
	f.tokens["4"] = authenticationv1.UserInfo{Username: "u", UID: "1", Groups: []string{"a", "b"}}
	f.tokens["5"] = authenticationv1.UserInfo{Username: "u", Groups: []string{"b", "a"}} // is 1
	g := guarded(t, f)
	seen := map[[32]byte]bool{}
	for _, token := range []string{"1", "2", "3", "4", "5"} {
		user, err := g.Authenticate(t.Context(), byToken(token))
		if err != nil {
			t.Fatal(err)
		}
		seen[user.identity()] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d different users, want 4", len(seen))
	}
}

// bubble hides the deadline of a test, which there is no asking for in a bubble of time.
type bubble struct{ *testing.T }

// TestLaws lets rights, tokens and outages come and go. Whatever happens: an allow
// without a warning was true a short time ago, one with a warning within the bound;
// a denial becomes an allow by a review only; nobody is denied anything, or let in
// with a warning, against what could be asked.
func TestLaws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubble{t}, func(rt *rapid.T) {
			f, g := world(t)
			right := "u list pods " + rapid.SampledFrom([]string{"/", "a/"}).Draw(rt, "scope")
			f.rights = map[string]bool{right: true}
			l := laws{f: f, right: right}
			for range rapid.IntRange(1, 40).Draw(rt, "steps") {
				l.passed()
				switch rapid.IntRange(0, 7).Draw(rt, "step") {
				case 0:
					f.rights[right] = !f.rights[right]
				case 1:
					l.toggleToken()
				case 2:
					f.away = map[bool]error{true: nil, false: errDown}[f.away != nil]
				case 3, 4:
					time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 5, 9, 10, 30, 100, 290}).Draw(rt, "pause")) * time.Second)
				default:
					f.took()
					status, warning := get(t, g, "t", "list pods a/")
					if fault := l.broken(status, warning); fault != "" {
						rt.Fatal(fault)
					}
				}
			}
		})
	})
}

// laws knows what was true when.
type laws struct {
	f           *fake
	right       string
	known, held time.Time // when the token was known, and the right held, last
	denied      bool      // by the last answer that was a decision
}

func (l *laws) isKnown() bool { return l.f.tokens["t"].Username != "" }

func (l *laws) passed() {
	if l.isKnown() {
		l.known = time.Now()
	}
	if l.f.rights[l.right] {
		l.held = time.Now()
	}
}

func (l *laws) toggleToken() {
	if _, ok := l.f.tokens["t"]; ok {
		delete(l.f.tokens, "t")
		return
	}
	l.f.tokens["t"] = authenticationv1.UserInfo{Username: "u", Groups: []string{"g"}}
}

// broken returns which law an answer breaks.
func (l *laws) broken(status int, warning string) string {
	l.passed()
	reviewed, away := len(l.f.took()) > 0, l.f.away != nil
	age := max(time.Since(l.known), time.Since(l.held))
	before := l.denied
	switch status {
	case 200:
		l.denied = false
	case 401, 403:
		l.denied = true
	}
	switch {
	case status == 200 && warning == "" && age >= 10*time.Second:
		return fmt.Sprintf("allowed %v after it was last true", age)
	case status == 200 && age >= 5*time.Minute:
		return fmt.Sprintf("held %v after it was last true", age)
	case status == 200 && before && (away || !reviewed):
		return "a denial became an allow without a review"
	case away && l.denied && status != 503:
		return fmt.Sprintf("%d though nobody could be asked", status)
	case status == 503 && !away:
		return "503 though it could be asked"
	case l.isKnown() && l.f.rights[l.right] && status != 200 && !away:
		return fmt.Sprintf("%d though it is allowed", status)
	}
	return ""
}
