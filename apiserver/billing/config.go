package billing

import "github.com/spf13/pflag"

// Config is what is configured of billing.
type Config struct {
	Credentials Credentials
	PricesFile  string
}

// RegisterFlags adds the flags.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	c.Credentials.RegisterFlags(fs)
	fs.StringVar(&c.PricesFile, "prices", c.PricesFile, "`FILE` with the prices of reports, YAML; without it reports have no costs")
}

// Options reads what the configuration names; what is not in files comes from
// API_USERNAME and API_PASSWORD.
func (c *Config) Options(lookup func(string) (string, bool)) (o Options, err error) {
	o.Credentials = EnvironmentCredentials(lookup)
	o.Credentials.UsernameFile, o.Credentials.PasswordFile = c.Credentials.UsernameFile, c.Credentials.PasswordFile
	if err = o.Credentials.Validate(); err == nil && c.PricesFile != "" {
		o.Prices, err = ReadPrices(c.PricesFile)
	}
	return o, err
}
