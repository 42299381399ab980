package caddyapoxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
	"github.com/apoxy-dev/caddy-apoxy/store/mirror"
	"github.com/apoxy-dev/caddy-apoxy/store/snapshot"
)

func init() {
	caddy.RegisterModule(EtcdStore{})
}

// EtcdStore keeps records in etcd. Every text may hold placeholders.
type EtcdStore struct {
	// The members, as URLs such as https://10.0.0.1:2379. Required.
	Endpoints []string `json:"endpoints,omitempty"`
	// What all keys begin with. Whoever shares an etcd needs one of their own.
	// Default: /apoxy.
	Prefix string `json:"prefix,omitempty"`
	// A file with the certificates, in PEM, that the members' own are to be signed by.
	// Default: the system's.
	CA string `json:"ca,omitempty"`
	// Files with a certificate and its key, in PEM, to show to the members.
	Certificate string `json:"cert,omitempty"`
	PrivateKey  string `json:"key,omitempty"`
	// Who etcd is to know us as, where its authentication is on: a user with the
	// permission readwrite below the prefix.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	// How long a call may take. Default: 3s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	options etcdstore.Options
}

// CaddyModule returns the Caddy module information.
func (EtcdStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "apoxy.stores.etcd", New: func() caddy.Module { return new(EtcdStore) }}
}

// Provision checks the options and reads the files that they name.
func (e *EtcdStore) Provision(caddy.Context) error {
	repl := caddy.NewReplacer()
	o := etcdstore.Options{Endpoints: slices.Clone(e.Endpoints), RequestTimeout: time.Duration(e.Timeout)}
	if err := expandAll(repl, "store etcd: endpoints", o.Endpoints); err != nil {
		return err
	}
	files := struct{ ca, cert, key string }{}
	for _, f := range []struct {
		option, text string
		to           *string
	}{
		{"prefix", e.Prefix, &o.Prefix}, {"user", e.User, &o.Username}, {"password", e.Password, &o.Password},
		{"ca", e.CA, &files.ca}, {"cert", e.Certificate, &files.cert}, {"key", e.PrivateKey, &files.key},
	} {
		var err error
		if *f.to, err = expand(repl, "store etcd: "+f.option, f.text); err != nil {
			return err
		}
	}
	o.Password = strings.TrimRight(o.Password, "\r\n") // a file ends with a line's end
	secure, err := checkEndpoints(o.Endpoints)
	switch {
	case err != nil:
		return err
	case e.Timeout < 0:
		return fmt.Errorf("store etcd: timeout %s: expected more than nothing, such as 3s", time.Duration(e.Timeout))
	case (files.cert == "") != (files.key == ""):
		return errors.New("store etcd: cert and key: one is given without the other")
	case (o.Username == "") != (o.Password == ""):
		return errors.New("store etcd: user and password: one is given without the other")
	case !secure && (files.ca != "" || files.cert != ""):
		return errors.New("store etcd: ca, cert and key need endpoints of https")
	}
	if secure {
		if o.TLS, err = etcdTLS(files.ca, files.cert, files.key); err != nil {
			return err
		}
	}
	e.options = o
	return nil
}

// checkEndpoints reports whether the endpoints are of https; all must be of one scheme.
func checkEndpoints(endpoints []string) (secure bool, err error) {
	if len(endpoints) == 0 {
		return false, errors.New("store etcd: endpoints: expected one or more, such as `endpoints https://10.0.0.1:2379 https://10.0.0.2:2379`")
	}
	for i, text := range endpoints {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			return false, fmt.Errorf("store etcd: endpoint %.200q: expected scheme, host and port, such as https://10.0.0.1:2379", text)
		}
		if i > 0 && secure != (u.Scheme == "https") {
			return false, errors.New("store etcd: endpoints: some are of https and others of http")
		}
		secure = u.Scheme == "https"
	}
	return secure, nil
}

func etcdTLS(ca, cert, key string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("store etcd: ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("store etcd: ca %s: it holds no certificate in PEM", ca)
		}
	}
	if cert != "" {
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			return nil, fmt.Errorf("store etcd: cert %s, key %s: %w", cert, key, err)
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key) // it may have been renewed
			if err != nil {
				return nil, fmt.Errorf("store etcd: cert %s, key %s: %w", cert, key, err)
			}
			return &pair, nil
		}
	}
	return conf, nil
}

// Key is the members and the prefix.
func (e *EtcdStore) Key() string {
	endpoints := slices.Clone(e.options.Endpoints)
	slices.Sort(endpoints)
	prefix := strings.TrimRight(e.options.Prefix, "/")
	if prefix == "" {
		prefix = etcdstore.DefaultPrefix
	}
	return "etcd:" + strings.Join(slices.Compact(endpoints), ",") + prefix
}

// Open opens the store, with a copy of it in Caddy's data directory. It does not wait for
// etcd.
func (e *EtcdStore) Open(logger *zap.Logger) (store.Store, error) {
	o := e.options
	o.Logger = logger
	st, err := etcdstore.Open(o) // the error names the engine
	if err != nil {
		return nil, err
	}
	copied, err := mirror.Open(st, e.copyPath(), logger)
	if err != nil {
		logger.Warn("this node keeps no copy of what is in etcd: without etcd it can neither start nor show records", zap.Error(err))
		return st, nil
	}
	return copied, nil
}

// copyPath is where this machine's copy is: one for each store.
func (e *EtcdStore) copyPath() string {
	sum := sha256.Sum256([]byte(e.Key()))
	return filepath.Join(caddy.AppDataDir(), fmt.Sprintf("apoxy-copy-%x.db", sum[:6]))
}

// OpenReadOnly opens the store: others may use it, too.
func (e *EtcdStore) OpenReadOnly() (store.Store, error) { return etcdstore.Open(e.options) }

// Vacant returns nil if nothing is below the prefix, or what a copy has left unfinished.
func (e *EtcdStore) Vacant(ctx context.Context) error {
	return e.opened(func(st store.Store) error { return snapshot.Vacant(ctx, st) })
}

// Fill has what is below the prefix filled. Its revisions are etcd's own.
func (e *EtcdStore) Fill(_ context.Context, _ int64, fill func(store.Store) error) error {
	return e.opened(fill)
}

// opened does something with the store itself, of which no copy is kept.
func (e *EtcdStore) opened(do func(store.Store) error) error {
	st, err := etcdstore.Open(e.options)
	if err != nil {
		return err
	}
	defer st.Close()
	if err := do(st); err != nil {
		return fmt.Errorf("%s: %w", e.Key(), err)
	}
	return nil
}

// UnmarshalCaddyfile sets up the store. Syntax:
//
//	etcd {
//		endpoints <url...>
//		prefix    <prefix>
//		ca        <file>
//		cert      <file>
//		key       <file>
//		user      <name>
//		password  <password>
//		timeout   <duration>
//	}
func (e *EtcdStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the engine's name
	if d.NextArg() {
		return d.Errf("store etcd takes a block, got the argument %q: expected `store etcd { endpoints https://10.0.0.1:2379 }`", d.Val())
	}
	texts := map[string]*string{"prefix": &e.Prefix, "ca": &e.CA, "cert": &e.Certificate, "key": &e.PrivateKey, "user": &e.User, "password": &e.Password}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		args := d.RemainingArgs()
		switch to, ok := texts[option]; {
		case option == "endpoints" && len(args) > 0:
			e.Endpoints = append(e.Endpoints, args...)
		case option == "endpoints":
			return d.Err("store etcd: endpoints: expected one or more, such as https://10.0.0.1:2379")
		case !ok && option != "timeout":
			return d.Errf("store etcd has no option %q: expected endpoints, prefix, ca, cert, key, user, password or timeout", option)
		case len(args) != 1:
			return d.Errf("store etcd: %s: expected one value, got %d", option, len(args))
		case ok:
			*to = args[0]
		default:
			timeout, err := caddy.ParseDuration(args[0])
			if err != nil || timeout <= 0 {
				return d.Errf("store etcd: timeout %q: expected a duration, such as 3s", args[0])
			}
			e.Timeout = caddy.Duration(timeout)
		}
	}
	return nil
}

// Interface guards
var (
	_ StoreModule           = (*EtcdStore)(nil)
	_ readOnlyStore         = (*EtcdStore)(nil)
	_ fillableStore         = (*EtcdStore)(nil)
	_ caddy.Provisioner     = (*EtcdStore)(nil)
	_ caddyfile.Unmarshaler = (*EtcdStore)(nil)
)
