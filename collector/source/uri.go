package source

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// ParseURI splits PREFIX:CONFIG[?OPTIONS], the form of --source and --sink, at the
// first colon. $NAME and ${NAME} behind it are replaced from the environment. Nothing
// and a pair of quotes mean the empty CONFIG.
func ParseURI(flag string) (prefix string, config *url.URL, err error) {
	prefix, rest, _ := strings.Cut(flag, ":")
	if prefix == "" {
		return "", nil, errors.New("it begins with no prefix: write PREFIX:URL?OPTIONS, such as kubernetes:https://kubernetes.default")
	}
	rest = unquote(os.ExpandEnv(rest))
	config, err = url.Parse(rest)
	if err != nil {
		return "", nil, fmt.Errorf("parse what follows %q: %w", prefix+":", err)
	}
	return prefix, config, nil
}

// unquote takes away quotes that a shell or YAML left: around all, or an empty pair
// in front of the options.
func unquote(s string) string {
	for _, quote := range []string{"'", `"`} {
		if after, ok := strings.CutPrefix(s, quote+quote); ok {
			return after
		}
		if len(s) > 1 && strings.HasPrefix(s, quote) && strings.HasSuffix(s, quote) {
			return s[1 : len(s)-1]
		}
	}
	return s
}
