package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// getOptions is what get was asked.
type getOptions struct {
	env            Env
	out            output
	query          listQuery
	watch          bool
	watchOnly      bool
	ignoreNotFound bool
}

func getCommand(env Env) *cobra.Command {
	o := &getOptions{env: env}
	cmd := &cobra.Command{
		Use:     "get [NAME...] [-o FORMAT] [-l SELECTOR] [-w]",
		Aliases: []string{"list", "ls"},
		Short:   "Shows records as a table, or whole in another format",
		Example: `  caddy apoxy domainrecord get
  caddy apoxy domainrecord get api.example.com -o yaml
  caddy apoxy domainrecord get -l core.apoxy.dev/owner=acme -w
  caddy apoxy domainrecord get -o custom-columns=HOST:.spec.name,PHASE:.status.phase`,
	}
	o.out.addTableFlags(cmd)
	cmd.Flags().StringVarP(&o.query.labels, "selector", "l", "", "only records whose labels match, such as team=a,tier!=free")
	cmd.Flags().StringVar(&o.query.fields, "field-selector", "", "only records whose fields match: metadata.name, spec.name, spec.target.ref.kind, spec.target.ref.name")
	cmd.Flags().IntVar(&o.query.limit, "chunk-size", 500, "how many records are asked for at a time; 0: all")
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on and show every change")
	cmd.Flags().BoolVar(&o.watchOnly, "watch-only", false, "show changes, not what there is at first")
	cmd.Flags().BoolVar(&o.ignoreNotFound, "ignore-not-found", false, "a record that does not exist is no failure")
	return finish(env, cmd, o.run, true)
}

func (o *getOptions) run(ctx context.Context, c *client, args []string) error {
	names, err := parseNames(args)
	if err != nil {
		return err
	}
	if err := checkSelectors(o.query.labels, o.query.fields); err != nil {
		return err
	}
	watching := o.watch || o.watchOnly
	switch {
	case len(names) > 0 && (o.query.labels != "" || o.query.fields != ""):
		return usagef("give names or a selector, not both")
	case len(names) > 1 && watching:
		return usagef("watching takes one name, or a selector")
	}
	sink, err := o.sink()
	if err != nil {
		return err
	}
	if watching {
		return o.follow(ctx, c, names, sink)
	}
	if len(names) > 0 {
		err = o.byName(ctx, c, names, sink)
	} else {
		_, err = o.list(ctx, c, sink)
	}
	if err == nil || sink.count() > 0 { // what failed is no empty list
		if flushErr := sink.flush(); err == nil {
			err = flushErr
		}
	}
	if err == nil && sink.count() == 0 && len(names) == 0 {
		fmt.Fprintln(o.env.Stderr, "No resources found")
	}
	return err
}

// byName shows the named records; one that fails does not keep the others.
func (o *getOptions) byName(ctx context.Context, c *client, names []string, s sink) error {
	s.single(len(names) == 1)
	var errs []error
	for _, name := range names {
		raw, err := o.fetch(ctx, c, name, s.accept())
		if err == nil {
			err = s.put(raw)
		}
		if err != nil && !(o.ignoreNotFound && apierrors.IsNotFound(err)) {
			errs = append(errs, err)
		}
	}
	return join(errs)
}

// fetch reads one record, by name or else by hostname.
func (o *getOptions) fetch(ctx context.Context, c *client, name, accept string) (json.RawMessage, error) {
	var raw json.RawMessage
	_, err := c.read(ctx, request{method: http.MethodGet, name: name, accept: accept}, &raw)
	if apierrors.IsNotFound(err) {
		if name, err = c.hostnameOr(ctx, name, err); err == nil {
			_, err = c.read(ctx, request{method: http.MethodGet, name: name, accept: accept}, &raw)
		}
	}
	return raw, err
}

// list shows all pages and returns the revision that they were read at.
func (o *getOptions) list(ctx context.Context, c *client, s sink) (resourceVersion string, err error) {
	q := o.query
	for {
		var raw json.RawMessage
		if _, err := c.read(ctx, request{method: http.MethodGet, query: q.values(), accept: s.accept()}, &raw); err != nil {
			if token, ok := resumeToken(err); ok && token != q.continueToken {
				q.continueToken = token
				continue
			}
			return "", err
		}
		var page struct {
			Metadata metav1.ListMeta `json:"metadata"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return "", fmt.Errorf("reading a list: %w", err)
		}
		if err := s.put(raw); err != nil {
			return "", err
		}
		if q.continueToken, err = c.nextPage(q.continueToken, page.Metadata.Continue); err != nil {
			return "", err
		}
		if q.continueToken == "" {
			return page.Metadata.ResourceVersion, nil
		}
	}
}

// follow shows what there is and then every change, until interrupted.
func (o *getOptions) follow(ctx context.Context, c *client, names []string, s sink) error {
	if len(names) == 1 {
		name, err := c.name(ctx, names[0])
		if err != nil {
			return err
		}
		if o.query.fields = "metadata.name=" + name; !o.ignoreNotFound {
			if _, err := c.get(ctx, name); err != nil {
				return err
			}
		}
	}
	s.streaming()
	first, begun := true, false
	o.query.limit = 0 // in one piece, hence at the one revision to watch from
	err := c.follow(ctx, follower{
		query: o.query, accept: s.accept(), patience: 30 * time.Second,
		begin: func(ctx context.Context) (string, bool, error) {
			s.mute(o.watchOnly && first)
			first = false
			rv, err := o.list(ctx, c, s)
			s.mute(false)
			if err == nil {
				err = s.flush()
			}
			begun = begun || err == nil
			return rv, false, err
		},
		each: func(ch change) (bool, error) {
			if err := s.put(ch.Object); err != nil {
				return true, err
			}
			return false, s.flush()
		},
	})
	if begun && err != nil && !errors.Is(err, context.Canceled) {
		return within("the watch has ended and shows no more changes", err)
	}
	return err
}

// parseNames takes arguments as kubectl does: NAME, or KIND/NAME.
func parseNames(args []string) ([]string, error) {
	names := make([]string, 0, len(args))
	for _, arg := range args {
		name := arg
		if kind, rest, ok := strings.Cut(arg, "/"); ok {
			kind, _, _ = strings.Cut(kind, ".")
			switch strings.ToLower(kind) {
			case "domainrecord", "domainrecords", "dr":
				name = rest
			default:
				return nil, usagef("%s is no domain record: give NAME or domainrecord/NAME", quote(arg))
			}
		}
		if msgs := content.IsPathSegmentName(name); name == "" || len(msgs) > 0 {
			return nil, usagef("%s is no name of a record: give its name or hostname, such as api.example.com", quote(arg))
		}
		names = append(names, name)
	}
	return names, nil
}

// join makes one error, hence one line, of several.
func join(errs []error) error {
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	lines := make([]string, len(errs))
	for i, err := range errs {
		lines[i] = explain(err)
	}
	return errors.New(strings.Join(lines, "; "))
}
