//go:build tools

// Package influxd pins the InfluxDB server that KRM is tested against. hack/influxd.sh
// builds it. It is a module of its own, because the server would otherwise pull our
// dependencies to versions that it was never tested with.
package influxd

import _ "github.com/influxdata/influxdb/cmd/influxd"
