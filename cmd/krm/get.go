package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// getQuestion is what krm get is asked.
type getQuestion struct {
	resource      string
	name          string // "" for a list
	namespace     string
	allNamespaces bool
	selector      string
	output        string // "", wide, json, yaml, name
}

func newGetCommand() *cobra.Command {
	var server serverFlags
	var asked getQuestion
	cmd := &cobra.Command{
		Use:   "get RESOURCE [NAME]",
		Short: "Show objects of the cluster as KRM knows them",
		Long: `get shows one object, or all of a namespace or the cluster, as "kubectl get" does,
but reads them from KRM and not from the API server.

RESOURCE is a watched resource as kubectl names it: pods, pod, po, deploy,
deployments.apps, widgets.example.com. RESOURCE/NAME names one object. Use
"krm status" to see what is watched, and how fresh it is. If an answer is staler
than it should be, a warning on stderr says so.

For scripts, -o json and -o yaml print whole objects: a List if they were listed,
else the object itself. -o name prints RESOURCE/NAME, one a line.`,
		Example: `  krm get pods                        # of the namespace default
  krm get po -A -o wide               # of all namespaces, with all columns
  krm get deploy web -n shop -o yaml  # one object, whole
  krm get pvc -l 'app=db,tier!=cache' # by labels
  krm get ingresses.networking.k8s.io -A -o name
  krm get nodes --server https://krm.example.com --token-file token`,
		Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return server.completeResources(cmd), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, err := asked.with(args)
			if err != nil {
				return err
			}
			krm, err := server.connect(0)
			if err != nil {
				return err
			}
			return server.explain(cmd.Context(), get(cmd.Context(), krm, asked, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	asked.register(cmd)
	server.register(cmd.Flags())
	return cmd
}

func (q *getQuestion) register(cmd *cobra.Command) {
	formats := []string{"wide", "json", "yaml", "name"}
	q.namespace = "default"
	fs := cmd.Flags()
	fs.VarP(checkedFlag{&q.namespace, "NAMESPACE", checkSegment}, "namespace", "n", "namespace to read")
	fs.BoolVarP(&q.allNamespaces, "all-namespaces", "A", false, "read all namespaces; --namespace does not matter then")
	fs.VarP(checkedFlag{&q.selector, "SELECTOR", checkSelector}, "selector", "l", "only objects with these labels: app=web,tier!=cache,env in (a,b),!canary")
	fs.VarP(checkedFlag{&q.output, strings.Join(formats, "|"), oneOf(formats...)}, "output", "o", "how to print; by default a table")
	completeFlag(cmd, "output", formats)
}

// completeFlag offers words to the shell as values of the flag.
func completeFlag(cmd *cobra.Command, flag string, words []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("BUG: " + err.Error()) // the flag does not exist
	}
}

// checkSegment refuses what cannot stand in a path as a namespace or a name.
func checkSegment(text string) error {
	if text == "" {
		return errors.New("want a name, it is empty")
	}
	if faults := content.IsPathSegmentName(text); len(faults) > 0 {
		return fmt.Errorf("want a name, it %s", strings.Join(faults, ", it "))
	}
	return nil
}

func checkSelector(text string) error {
	if _, err := labels.Parse(text); err != nil {
		return fmt.Errorf("want labels such as app=web,tier!=cache,env in (a,b),!canary: %w", err)
	}
	return nil
}

// with adds the arguments and checks what goes together.
func (q getQuestion) with(args []string) (getQuestion, error) {
	q.resource = args[0]
	resource, name, slashed := strings.Cut(args[0], "/")
	switch {
	case slashed && len(args) == 2:
		return q, usagef("arguments %q: want RESOURCE NAME or RESOURCE/NAME", strings.Join(args, " "))
	case slashed:
		q.resource, q.name = resource, name
	case len(args) == 2:
		q.name = args[1]
	default:
		return q, nil
	}
	if err := checkSegment(q.name); err != nil {
		return q, usagef("name %q: %w", q.name, err)
	}
	if q.selector != "" {
		return q, usagef("--selector %q: want no name with it, got %q", q.selector, q.name)
	}
	if q.allNamespaces {
		return q, usagef("--all-namespaces: want no name with it, got %q: give its --namespace", q.name)
	}
	return q, nil
}

// get asks krm and prints the answer.
func get(ctx context.Context, krm *client.Client, asked getQuestion, stdout, stderr io.Writer) error {
	status, err := krm.Status(ctx)
	if err != nil {
		return err
	}
	watched, err := find(status.Resources, asked.resource)
	if err != nil {
		return err
	}
	isTable := asked.output == "" || asked.output == "wide"
	body, fresh, err := krm.Get(ctx, asked.request(watched, isTable))
	if err != nil {
		return err
	}
	for _, warning := range fresh.Warnings {
		fmt.Fprintln(stderr, "Warning:", cellText(warning))
	}
	if isTable {
		return asked.printTable(watched, body, stdout, stderr)
	}
	objects, err := decodeItems(body)
	if err != nil {
		return err
	}
	return objects.print(stdout, asked.output)
}

func (q getQuestion) request(watched client.ResourceStatus, isTable bool) client.Request {
	namespace := q.namespace
	if q.allNamespaces {
		namespace = ""
	}
	request := client.Request{Path: resourceOf(watched).Path(url.PathEscape(namespace)), Query: url.Values{}}
	if q.name != "" {
		request.Path += "/" + url.PathEscape(q.name)
	}
	if q.selector != "" {
		request.Query.Set("labelSelector", q.selector)
	}
	if isTable {
		request.Accept = acceptTable
		request.Query.Set("includeObject", "Metadata")
	}
	return request
}

func (q getQuestion) printTable(watched client.ResourceStatus, body []byte, stdout, stderr io.Writer) error {
	table, err := decodeTable(body, time.Now())
	if err != nil {
		return err
	}
	if len(table.Rows) > 0 {
		return printTable(stdout, table, tableStyle{wide: q.output == "wide", namespaces: q.allNamespaces && watched.Namespaced})
	}
	where := ""
	if watched.Namespaced && !q.allNamespaces {
		where = fmt.Sprintf(" in %s namespace.", q.namespace)
	}
	_, err = fmt.Fprintf(stderr, "No resources found%s\n", where)
	return err
}
