package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kubernetes-resource-monitor/krm/client"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/compare"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// checked is what comparing answers found.
type checked struct {
	what      string
	answers   int // answers of KRM that were compared
	objects   int // objects in them
	different int
}

// checker compares KRM's answers with kube-apiserver's. Nothing changes meanwhile.
type checker struct {
	*lab
	truth []byte // kube-apiserver's list of all pods
	done  []checked
}

// check compares answers of every kind, and fails only if it could not.
func (l *lab) check(ctx context.Context, last churned) ([]checked, error) {
	began := time.Now()
	if err := l.calm(ctx, last); err != nil {
		return nil, err
	}
	c := &checker{lab: l}
	for _, step := range []func(context.Context) error{c.lists, c.protobuf, c.parts, c.objects, c.clients} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("compare answers: %w", err)
		}
	}
	if err := l.unmoved(ctx, c.truth); err != nil {
		return nil, err
	}
	answers, objects, different := 0, 0, 0
	for _, one := range c.done {
		answers, objects, different = answers+one.answers, objects+one.objects, different+one.different
	}
	l.say("compared %d answers of %d objects in %.1f s: %d differ", answers, objects, time.Since(began).Seconds(), different)
	return c.done, nil
}

// calm returns once KRM has the last change.
func (l *lab) calm(ctx context.Context, last churned) error {
	var latest ack
	for _, acked := range last.acks {
		if acked.version > latest.version {
			latest = acked
		}
	}
	if latest.version == 0 {
		return nil
	}
	path := "/api/v1/namespaces/" + latest.key.Namespace + "/pods/" + latest.key.Name
	want := fmt.Appendf(nil, `"resourceVersion":"%d"`, latest.version)
	return process.Poll(ctx, 15*time.Second, "the last change in KRM", func(ctx context.Context) error {
		body, err := l.sides[krm].get(ctx, path)
		if err == nil && !bytes.Contains(body, want) {
			err = fmt.Errorf("%s has no %s", path, want)
		}
		return err
	})
}

// unmoved fails if the pods are no longer what they were when comparing began: then
// the comparison says nothing.
func (l *lab) unmoved(ctx context.Context, before []byte) error {
	after, err := l.sides[kube].get(ctx, allPods)
	if err != nil {
		return err
	}
	_, itemsBefore, _ := bytes.Cut(before, []byte(`"items":`)) // the list's own version may move
	_, itemsAfter, _ := bytes.Cut(after, []byte(`"items":`))
	if bytes.Equal(itemsBefore, itemsAfter) {
		return nil
	}
	was, err := compare.ReadList(bytes.NewReader(before))
	if err != nil {
		return err
	}
	is, err := compare.ReadList(bytes.NewReader(after))
	if err != nil {
		return err
	}
	return fmt.Errorf("the pods changed while nobody was to change them: %v", compare.Diff(was.Objects, is.Objects))
}

// planted returns an answer of KRM as comparing gets it: with --plant one pod's phase
// is another one.
func (l *lab) planted(body []byte) []byte {
	if !l.cfg.plant {
		return body
	}
	return bytes.Replace(body, []byte("Running"), []byte("Planted"), 1)
}

func (c *checker) note(what string, truth, got compare.List) {
	difference := compare.Diff(truth.Objects, got.Objects)
	one := checked{what, 1, len(truth.Objects), difference.Total() + len(got.Twice)}
	if one.different > 0 {
		c.say("%s: %v, twice %v", what, difference, got.Twice)
	}
	c.done = append(c.done, one)
}

// lists compares JSON lists of all pods, plain and by gzip.
func (c *checker) lists(ctx context.Context) error {
	var err error
	if c.truth, err = c.sides[kube].get(ctx, allPods); err != nil {
		return err
	}
	body, err := c.sides[krm].get(ctx, allPods)
	if err != nil {
		return err
	}
	var zipped bytes.Buffer
	if _, err := c.sides[krm].fetch(ctx, read{allPods, mediaJSON, "gzip"}, &zipped); err != nil {
		return err
	}
	unzipped, err := gunzip(&zipped)
	if err != nil {
		return err
	}
	var truth, plain, packed compare.List
	var group errgroup.Group
	for _, one := range []struct {
		body []byte
		to   *compare.List
	}{{c.truth, &truth}, {c.planted(body), &plain}, {c.planted(unzipped), &packed}} {
		group.Go(func() (err error) {
			*one.to, err = compare.ReadList(bytes.NewReader(one.body))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	c.note("list_json", truth, plain)
	c.note("list_gzip", truth, packed)
	return nil
}

func gunzip(from io.Reader) ([]byte, error) {
	reader, err := gzip.NewReader(from)
	if err != nil {
		return nil, fmt.Errorf("unzip a list: %w", err)
	}
	body, err := io.ReadAll(reader) // with the check sum
	if err != nil {
		return nil, fmt.Errorf("unzip a list: %w", err)
	}
	return body, nil
}

// protobuf compares protobuf lists of all pods.
func (c *checker) protobuf(ctx context.Context) error {
	var lists [2]compare.List
	for which, s := range c.sides {
		var body bytes.Buffer
		if _, err := s.fetch(ctx, read{allPods, mediaProtobuf, "identity"}, &body); err != nil {
			return err
		}
		text := body.Bytes()
		if which == krm {
			text = c.planted(text)
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
		if err != nil {
			return fmt.Errorf("decode %s's protobuf: %w", s.name, err)
		}
		pods, ok := object.(*corev1.PodList)
		if !ok {
			return fmt.Errorf("decode %s's protobuf: it is a %T", s.name, object)
		}
		if lists[which], err = typedList(pods.Items); err != nil {
			return err
		}
	}
	c.note("list_proto", lists[kube], lists[krm])
	return nil
}

// typedList is a list of decoded pods, without managedFields. It changes pods.
func typedList(pods []corev1.Pod) (compare.List, error) {
	list := compare.List{Objects: make(map[string]compare.Object, len(pods))}
	for i := range pods {
		pod := &pods[i]
		pod.ManagedFields = nil
		text, err := pod.Marshal()
		if err != nil {
			return list, fmt.Errorf("encode %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		hash := fnv.New64a()
		_, _ = hash.Write(text) // never fails
		key := pod.Namespace + "/" + pod.Name
		if _, twice := list.Objects[key]; twice {
			list.Twice = append(list.Twice, key)
		}
		list.Objects[key] = compare.Object{Key: key, UID: string(pod.UID), Version: pod.ResourceVersion, Hash: hash.Sum64()}
	}
	return list, nil
}

// parts compares the lists of the selector and of some namespaces.
func (c *checker) parts(ctx context.Context) error {
	namespaces := shares(c.cfg.pods, perNamespace)
	for _, path := range []string{
		allPods + canaryQuery,
		"/api/v1/namespaces/" + namespaceOf(0) + "/pods",
		"/api/v1/namespaces/" + namespaceOf(namespaces/2) + "/pods",
		"/api/v1/namespaces/" + namespaceOf(namespaces-1) + "/pods",
	} {
		var lists [2]compare.List
		for which, s := range c.sides {
			body, err := s.get(ctx, path)
			if err != nil {
				return err
			}
			if which == krm {
				body = c.planted(body)
			}
			if lists[which], err = compare.ReadList(bytes.NewReader(body)); err != nil {
				return err
			}
		}
		c.note(path, lists[kube], lists[krm])
	}
	return nil
}

// objects compares single pods.
func (c *checker) objects(ctx context.Context) error {
	paths := c.podPaths()
	all := checked{what: "GET one pod"}
	for _, path := range paths[:min(20, len(paths))] {
		var bodies [2][]byte
		for which, s := range c.sides {
			var err error
			if bodies[which], err = s.get(ctx, path); err != nil {
				return err
			}
		}
		same, err := compare.SameAnswer(bodies[kube], c.planted(bodies[krm]))
		if err != nil {
			return err
		}
		all.answers++
		all.objects++
		if !same {
			all.different++
		}
	}
	if all.different > 0 {
		c.say("%s: %d of %d differ", all.what, all.different, all.answers)
	}
	c.done = append(c.done, all)
	return nil
}

// clients compares what KRM's client returns with what client-go returns.
func (c *checker) clients(ctx context.Context) error {
	if c.cfg.same {
		return nil
	}
	theirs, err := kubernetes.NewForConfig(c.sides[kube].restConfig())
	if err != nil {
		return err
	}
	ours, err := c.ownClient()
	if err != nil {
		return err
	}
	truth, err := theirs.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	got, _, err := ours.Pods("").List(ctx, client.ListOptions{})
	if err != nil {
		return err
	}
	if c.cfg.plant && len(got.Items) > 0 {
		got.Items[0].Status.Phase = "Planted"
	}
	want, err := typedList(truth.Items)
	if err != nil {
		return err
	}
	list, err := typedList(got.Items)
	if err != nil {
		return err
	}
	c.note("client", want, list)
	return nil
}
