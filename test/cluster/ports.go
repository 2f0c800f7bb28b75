package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
)

// Ports are the cluster's TCP ports on 127.0.0.1. Zero means: choose a free one.
type Ports struct {
	APIServer  int `json:"apiserver"`
	EtcdClient int `json:"etcdClient"`
	EtcdPeer   int `json:"etcdPeer"`
}

// choosePorts settles every port: a port that was asked for must be free; else
// the port of the last run is taken if it is free; else any free port.
func choosePorts(asked, last Ports) (Ports, error) {
	var (
		chosen Ports
		held   []net.Listener // held until all are chosen, so that they differ
		faults []error
	)
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	choose := func(flag string, asked, last int) int {
		if asked != 0 {
			l, err := listenLocal(asked)
			if err != nil {
				faults = append(faults, fmt.Errorf("port %d is taken: give another %s, or 0 for any free one: %w", asked, flag, err))
				return 0
			}
			held = append(held, l)
			return asked
		}
		if l, err := listenLocal(last); err == nil {
			held = append(held, l)
			return l.Addr().(*net.TCPAddr).Port
		}
		l, err := listenLocal(0)
		if err != nil {
			faults = append(faults, fmt.Errorf("find a free port on 127.0.0.1: %w", err))
			return 0
		}
		held = append(held, l)
		return l.Addr().(*net.TCPAddr).Port
	}
	chosen.APIServer = choose("--apiserver-port", asked.APIServer, last.APIServer)
	chosen.EtcdClient = choose("--etcd-port", asked.EtcdClient, last.EtcdClient)
	chosen.EtcdPeer = choose("", 0, last.EtcdPeer)
	return chosen, errors.Join(faults...)
}

func listenLocal(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
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
	return scheme + "://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
