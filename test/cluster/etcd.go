package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

const etcdName = "krm-test"

// startEtcd runs etcd in this process and returns once it serves. It does not
// wait for the disk: a crash of the machine may lose data, which tests accept.
func startEtcd(ctx context.Context, d Dir, ports Ports) (*embed.Etcd, error) {
	client, peer, err := etcdURLs(ports)
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Name = etcdName
	cfg.Dir = d.etcdData()
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true
	cfg.QuotaBackendBytes = 8 << 30
	cfg.EnableGRPCGateway = false // and no CORS: a web page must not reach the data
	cfg.CORS = nil
	cfg.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration // zero would log every request
	cfg.LogLevel = "warn"
	cfg.LogOutputs = []string{d.log("etcd")}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start etcd (its log is %s): %w", d.log("etcd"), err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case err = <-server.Err():
	case <-time.After(30 * time.Second):
		err = errors.New("not ready within 30 s")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	server.Close()
	return nil, fmt.Errorf("start etcd (its log is %s): %w", d.log("etcd"), err)
}

func etcdURLs(ports Ports) (client, peer url.URL, err error) {
	c, err := url.Parse(localURL("http", ports.EtcdClient))
	if err != nil {
		return client, peer, fmt.Errorf("make etcd's address: %w", err)
	}
	p, err := url.Parse(localURL("http", ports.EtcdPeer))
	if err != nil {
		return client, peer, fmt.Errorf("make etcd's address: %w", err)
	}
	return *c, *p, nil
}

// restoreEtcd replaces etcd's data by the snapshot in file. etcd must not run.
// Revisions go back to the snapshot's, as after a real disaster.
func restoreEtcd(d Dir, ports Ports, file string) error {
	_, peer, err := etcdURLs(ports)
	if err != nil {
		return err
	}
	restored := d.etcdData() + ".restored"
	if err := os.RemoveAll(restored); err != nil {
		return fmt.Errorf("make room for the snapshot: %w", err)
	}
	err = snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath:        file,
		Name:                etcdName,
		OutputDataDir:       restored,
		PeerURLs:            []string{peer.String()},
		InitialCluster:      etcdName + "=" + peer.String(),
		InitialClusterToken: "restored",
	})
	if err != nil {
		return fmt.Errorf("read snapshot %s: %w", file, err)
	}
	if err := os.RemoveAll(d.etcdData()); err != nil {
		return fmt.Errorf("remove the old data: %w", err)
	}
	if err := os.Rename(restored, d.etcdData()); err != nil {
		return fmt.Errorf("put the snapshot in place: %w", err)
	}
	return nil
}

// etcdClient connects to the etcd of the cluster that runs in d.
func etcdClient(d Dir) (*clientv3.Client, error) {
	env, err := d.readEnv()
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{env["ETCD_ENDPOINTS"]},
		DialTimeout: 5 * time.Second,
		Logger:      zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd at %s: %w", env["ETCD_ENDPOINTS"], err)
	}
	return client, nil
}

// compact drops all history up to etcd's current revision, which it returns.
func compact(ctx context.Context, d Dir) (revision int64, err error) {
	client, err := etcdClient(d)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	now, err := client.Get(ctx, "no-such-key", clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("read etcd's revision: %w", err)
	}
	revision = now.Header.Revision
	if _, err := client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
		return 0, fmt.Errorf("compact etcd at revision %d: %w", revision, err)
	}
	return revision, nil
}

// takeSnapshot writes etcd's present data to file.
func takeSnapshot(ctx context.Context, d Dir, file string) (err error) {
	client, err := etcdClient(d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	stream, err := client.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("ask etcd for a snapshot: %w", err)
	}
	defer stream.Close()
	temp := file + ".new"
	out, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	_, err = io.Copy(out, stream)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	if err := os.Rename(temp, file); err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	return nil
}
