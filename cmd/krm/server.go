package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// defaultServer is where an apiserver listens unless told otherwise.
const defaultServer = "http://127.0.0.1:8080"

// serverFlags say how to reach an apiserver of KRM.
type serverFlags struct {
	Server    string
	TokenFile string
	CAFile    string
	Timeout   time.Duration
}

func (f *serverFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.Server, "server", defaultServer, "`URL` of KRM's apiserver")
	fs.StringVar(&f.TokenFile, "token-file", "", "`FILE` with the bearer token to send; or put the token itself into $KRM_TOKEN")
	fs.StringVar(&f.CAFile, "ca-file", "", "`FILE` with the certificates (PEM) that vouch for an https server; by default the system's")
	fs.DurationVar(&f.Timeout, "timeout", 30*time.Second, "longest wait for an answer; failed tries are repeated")
}

// connect returns a client as the flags say. It makes no request.
func (f *serverFlags) connect(retries int) (*client.Client, error) {
	if f.Timeout <= 0 {
		return nil, usagef("--timeout=%v: want more than 0, such as 30s", f.Timeout)
	}
	opts := client.Options{TokenFile: f.TokenFile, UserAgent: "krm/" + version, Timeout: f.Timeout, Retries: retries, CAFile: f.CAFile}
	if f.TokenFile == "" {
		opts.Token = os.Getenv("KRM_TOKEN")
	}
	krm, err := client.New(f.Server, opts)
	if err != nil {
		return nil, usagef("--server, --ca-file: %w", err)
	}
	return krm, nil
}

// explain adds to err what a person can do if KRM was not reached.
func (f *serverFlags) explain(ctx context.Context, err error) error {
	var connection *client.ConnectionError
	if err == nil || ctx.Err() != nil || !errors.As(err, &connection) {
		return err
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return fmt.Errorf("%w: give the certificates to trust with --ca-file", err)
	}
	return fmt.Errorf("%w: is krm running? start it with \"krm standalone\" or give --server", err)
}

// completeResources offers the names of the watched resources to the shell.
func (f *serverFlags) completeResources(cmd *cobra.Command) []string {
	// The shell asks without running the command, so the environment is not bound yet.
	if err := bindEnvironment(cmd.Flags(), os.LookupEnv); err != nil {
		return nil
	}
	krm, err := f.connect(-1)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	status, err := krm.Status(ctx)
	if err != nil {
		return nil
	}
	return watchedNames(status.Resources)
}
