package billing

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Credentials are what callers have to show in X-USERNAME and X-PASSWORD. A file goes
// before the value; files are read for each request, so that what is renewed holds at
// once. With either of both missing, everybody is refused.
type Credentials struct {
	Username, Password         string
	UsernameFile, PasswordFile string
}

// EnvironmentCredentials are those of API_USERNAME and API_PASSWORD.
func EnvironmentCredentials(lookup func(string) (string, bool)) Credentials {
	username, _ := lookup("API_USERNAME")
	password, _ := lookup("API_PASSWORD")
	return Credentials{Username: username, Password: password}
}

// RegisterFlags adds the flags of the files.
func (c *Credentials) RegisterFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.UsernameFile, "api-username-file", c.UsernameFile, "`FILE` with the user name that POST /api/… asks for; or put it into $API_USERNAME")
	fs.StringVar(&c.PasswordFile, "api-password-file", c.PasswordFile, "`FILE` with the password that POST /api/… asks for; or put it into $API_PASSWORD. Without both, everybody is refused")
}

// read returns both; they are "" if they are not set.
func (c *Credentials) read() (username, password string, err error) {
	username, password = c.Username, c.Password
	if c.UsernameFile != "" {
		username, err = readSecret(c.UsernameFile)
	}
	if c.PasswordFile != "" && err == nil {
		password, err = readSecret(c.PasswordFile)
	}
	return username, password, err
}

// Validate tries to read the files.
func (c *Credentials) Validate() error {
	username, password, err := c.read()
	if err == nil && (username == "") != (password == "") {
		err = errors.New("one of the user name and the password for POST /api is set: want both, or none to refuse everybody")
	}
	return err
}

func readSecret(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read a credential for POST /api: %w", err)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("read a credential for POST /api: %s is empty", file)
	}
	return secret, nil
}

// errRefused is what everybody is told whose credentials are missing or wrong.
func errRefused() *fault {
	return faultf(http.StatusUnauthorized, "want the headers X-USERNAME and X-PASSWORD with this API's credentials")
}

// authenticate fails unless the request has the credentials. A refusal takes the same
// time whatever is wrong, and an address has only so many of them.
func (a *API) authenticate(q request) error {
	address := addressOf(q.Request.RemoteAddr)
	if wait := a.attempts.wait(address, q.now); wait > 0 {
		f := faultf(http.StatusTooManyRequests, "too many refused requests from %s: try again later", address)
		f.after = wait
		return f
	}
	username, password, err := a.options.Credentials.read()
	if err != nil {
		a.refusals.count("unreadable", q, err)
	}
	set := username != "" && password != "" && err == nil
	right := same(q.GetHeader("X-USERNAME"), username) & same(q.GetHeader("X-PASSWORD"), password)
	if set && right == 1 {
		return nil
	}
	if set { // else nobody can come in, and who has the right ones is not to wait for it
		a.attempts.refused(address, q.now)
	}
	delay := time.NewTimer(a.options.RefusalDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-q.Request.Context().Done():
	}
	return errRefused()
}

// same compares in a time that depends on the length of given only.
func same(given, want string) int {
	g, w := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(g[:], w[:])
}
