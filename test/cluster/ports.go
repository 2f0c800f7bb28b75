package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
)

// loopback is where everything listens, unless kube-apiserver is told otherwise.
const loopback = "127.0.0.1"

// Ports are the cluster's TCP ports. Zero means: choose a free one. etcd's are on
// 127.0.0.1, kube-apiserver's is on Address.
type Ports struct {
	Address    string `json:"address,omitempty"` // "" is 127.0.0.1
	APIServer  int    `json:"apiserver"`
	EtcdClient int    `json:"etcdClient"`
	EtcdPeer   int    `json:"etcdPeer"`
}

// host is the address that kube-apiserver listens on.
func (p Ports) host() string { return cmp.Or(p.Address, loopback) }

// server is the URL of kube-apiserver.
func (p Ports) server() string {
	return "https://" + net.JoinHostPort(p.host(), strconv.Itoa(p.APIServer))
}

// choosePorts settles every port: a port that was asked for must be free; else
// the port of the last run is taken if it is free; else any free port.
func choosePorts(asked, last Ports) (Ports, error) {
	var (
		chosen = Ports{Address: asked.Address}
		held   []net.Listener // held until all are chosen, so that they differ
		faults []error
	)
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	choose := func(flag, host string, asked, last int) int {
		if asked != 0 {
			l, err := listen(host, asked)
			if err != nil {
				faults = append(faults, fmt.Errorf("port %d is taken: give another %s, or 0 for any free one: %w", asked, flag, err))
				return 0
			}
			held = append(held, l)
			return asked
		}
		if l, err := listen(host, last); err == nil {
			held = append(held, l)
			return l.Addr().(*net.TCPAddr).Port
		}
		l, err := listen(host, 0)
		if err != nil {
			faults = append(faults, fmt.Errorf("find a free port on %s: %w", host, err))
			return 0
		}
		held = append(held, l)
		return l.Addr().(*net.TCPAddr).Port
	}
	chosen.APIServer = choose("--apiserver-port", asked.host(), asked.APIServer, last.APIServer)
	chosen.EtcdClient = choose("--etcd-port", loopback, asked.EtcdClient, last.EtcdClient)
	chosen.EtcdPeer = choose("", loopback, 0, last.EtcdPeer)
	return chosen, errors.Join(faults...)
}

func listen(host string, port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
}

// loadPorts returns the ports of the last run, or zeros if there was none.
func loadPorts(path string) (Ports, error) {
	var p Ports
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read the ports of the last run: %w", err)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("read %s (remove it, or start with --fresh): %w", path, err)
	}
	return p, nil
}

func savePorts(path string, p Ports) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(data, '\n'), 0o644)
}

func localURL(scheme string, port int) string {
	return scheme + "://" + net.JoinHostPort(loopback, strconv.Itoa(port))
}
