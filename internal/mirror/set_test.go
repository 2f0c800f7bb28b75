package mirror

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

type fakeResources struct {
	mu   sync.Mutex
	list []object.Registered
	err  error
}

func (f *fakeResources) set(err error, resources ...object.Resource) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list, f.err = nil, err
	for _, r := range resources {
		f.list = append(f.list, object.Registered{Resource: r})
	}
}

func (f *fakeResources) Resources(context.Context) ([]object.Registered, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list, f.err
}

func TestSetFollowsWhatIsRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deployments := object.Resource{Group: "apps", Version: "v1", Name: "deployments", Kind: "Deployment", Namespaced: true}
		beta := deployments
		beta.Version = "v1beta1"
		unresolved := object.Resource{Group: "example.com", Name: "widgets"}
		resources := new(fakeResources)
		resources.set(errAway)
		var mu sync.Mutex
		feeds := 0
		set := NewSet(resources, func(object.Resource) Feed {
			mu.Lock()
			defer mu.Unlock()
			feeds++
			feed := newFakeFeed()
			feed.put("10", "a/x")
			return feed
		}, Options{}, quiet())
		if _, at, err := set.Registered(); !at.IsZero() || err == nil {
			t.Errorf("before Run: %v, %v", at, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := set.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		want := func(wantErr bool, wantFeeds int, names ...string) {
			t.Helper()
			var got []string
			for _, m := range set.Mirrors() {
				if got = append(got, m.Resource().GroupVersion()+"/"+m.Resource().Name); m.Root() == nil {
					t.Errorf("%v has no root", m.Resource())
				}
			}
			_, _, err := set.Registered()
			if diff := cmp.Diff(names, got); diff != "" || wantErr != (err != nil) || feeds != wantFeeds {
				t.Errorf("err %v, %d feeds, mirrors (-want +got):\n%s", err, feeds, diff)
			}
		}
		time.Sleep(time.Second)
		want(true, 0)
		resources.set(nil, pods, deployments, unresolved)
		time.Sleep(5 * time.Second)
		want(false, 2, "v1/pods", "apps/v1/deployments")
		if m, ok := set.Lookup("apps", "v1", "deployments"); !ok || m.Resource() != deployments {
			t.Error("deployments not found")
		}
		if _, ok := set.Lookup("apps", "v1beta1", "deployments"); ok {
			t.Error("deployments found in a version that is not mirrored")
		}
		if m, ok := set.Find("", "pods"); !ok || m.Resource() != pods {
			t.Error("pods not found")
		}
		short := pods
		short.Short = "po" // no reason to begin anew
		resources.set(nil, short, beta)
		time.Sleep(5 * time.Second)
		want(false, 3, "v1/pods", "apps/v1beta1/deployments")
		resources.set(errAway)
		time.Sleep(time.Hour)
		want(true, 3, "v1/pods", "apps/v1beta1/deployments")
		resources.set(nil) // Redis came back empty
		time.Sleep(time.Hour)
		want(false, 3, "v1/pods", "apps/v1beta1/deployments")
		resources.set(nil, pods)
		time.Sleep(5 * time.Second)
		want(false, 3, "v1/pods")
		resources.set(nil, pods, beta)
		time.Sleep(5 * time.Second)
		want(false, 4, "v1/pods", "apps/v1beta1/deployments")
		resources.set(nil, pods)
		time.Sleep(20 * time.Second)
		want(false, 4, "v1/pods", "apps/v1beta1/deployments") // perhaps it comes back
		time.Sleep(20 * time.Second)
		want(false, 4, "v1/pods")
		cancel()
		<-done
	})
}
