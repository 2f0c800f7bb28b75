package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
)

func newTokenCommand() *cobra.Command {
	var entry auth.Entry
	cmd := &cobra.Command{
		Use:   "token NAME",
		Short: "Make a bearer token for --auth=token, and its entry for the token file",
		Long: `token makes a new random token. The token itself goes to the standard error and is
shown this once; the entry for the file of --auth-token-file, which holds only its
hash, goes to the standard output. A running apiserver reads the file again when it
changes.

NAME is who will use it, as it stands in logs and answers. The token may read the
resources in the namespaces that are given; by default it may read everything. What
stands in no namespace, such as nodes, takes all of them.`,
		Example: `  krm token billing >> tokens.yaml
  krm token web --namespaces shop,blog --resources pods,deployments.apps >> tokens.yaml
  krm apiserver --auth token --auth-token-file tokens.yaml --redis-addr redis:6379`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			entry.Name = args[0]
			return makeToken(entry, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringSliceVar(&entry.Namespaces, "namespaces", []string{"*"}, "`NAMES` of the namespaces that may be read, joined by commas; * is all")
	cmd.Flags().StringSliceVar(&entry.Resources, "resources", []string{"*"}, "`NAMES` of the resources that may be read, such as pods,deployments.apps; * is all")
	return cmd
}

// makeToken prints a new token and the entry that lets it in.
func makeToken(entry auth.Entry, stdout, stderr io.Writer) error {
	token := "krm_" + rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(token))
	entry.SHA256 = hex.EncodeToString(sum[:])
	if err := entry.Validate(); err != nil {
		return usageError{err}
	}
	line, err := json.Marshal(entry) // JSON is YAML, and takes one line
	if err != nil {
		return fmt.Errorf("write the entry of %s: %w", entry.Name, err)
	}
	fmt.Fprintf(stderr, "The token of %s, shown this once:\n%s\n", entry.Name, token)
	fmt.Fprintf(stdout, "- %s\n", line)
	return nil
}
