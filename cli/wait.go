package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/jsonpath"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

type waitOptions struct {
	env     Env
	what    string
	timeout time.Duration
	labels  string
	all     bool
	quiet   bool
}

func waitCommand(env Env) *cobra.Command {
	o := &waitOptions{env: env}
	cmd := &cobra.Command{
		Use:   "wait NAME... --for=condition=TYPE[=STATUS]|create|delete|jsonpath={PATH}[=VALUE]",
		Short: "Waits until a record is as asked, and says meanwhile what it waits for",
		Example: `  caddy apoxy domainrecord wait api.example.com --for=condition=Ready --timeout=10m
  caddy apoxy domainrecord wait api.example.com --for=condition=TLSReady=True
  caddy apoxy domainrecord wait api.example.com --for=jsonpath={.status.phase}=Active
  caddy apoxy domainrecord wait api.example.com --for=delete`,
	}
	cmd.Flags().StringVar(&o.what, "for", "", "what to wait for: condition=TYPE[=STATUS] (STATUS is True if left out), create, delete, or jsonpath={PATH}[=VALUE]")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 60*time.Second, "how long in all; 0: look once, negative: without end")
	cmd.Flags().StringVarP(&o.labels, "selector", "l", "", "every record whose labels match")
	cmd.Flags().BoolVar(&o.all, "all", false, "every record")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "no progress on standard error")
	return finish(env, cmd, o.run, true)
}

func (o *waitOptions) run(ctx context.Context, c *client, args []string) error {
	goal, err := parseGoal(o.what)
	if err != nil {
		return err
	}
	names, err := selectNames(ctx, c, args, o.labels, o.all)
	if err != nil {
		return err
	}
	switch {
	case o.timeout > 0:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	case o.timeout == 0:
		goal.once = true
	}
	var errs []error
	for _, name := range names {
		if err := o.wait(ctx, c, name, goal); err != nil {
			if errors.Is(err, context.Canceled) {
				return err
			}
			errs = append(errs, err)
		}
	}
	return join(errs)
}

// selectNames returns the records that names, a selector or --all mean.
func selectNames(ctx context.Context, c *client, args []string, labels string, all bool) ([]string, error) {
	if err := checkSelectors(labels, ""); err != nil {
		return nil, err
	}
	switch {
	case len(args) > 0 && (labels != "" || all), labels != "" && all:
		return nil, usagef("give names, -l SELECTOR or --all, one of them")
	case len(args) > 0:
		return parseNames(args)
	case labels == "" && !all:
		return nil, usagef("name a record, or give -l SELECTOR or --all")
	}
	var names []string
	err := c.eachRecord(ctx, listQuery{labels: labels, limit: 500}, func(name string) { names = append(names, name) })
	if err == nil && len(names) == 0 {
		return nil, fmt.Errorf("no record matches")
	}
	return names, err
}

// goal is what is waited for.
type goal struct {
	// met reports whether a record is as asked; nil: it does not exist.
	met func(*v1alpha3.DomainRecord) (bool, error)
	// missing: a record that does not exist may be waited for.
	missing bool
	// once: nothing is waited for.
	once bool
	// words say what is waited for, done what is printed of it.
	words, done string
	// condition is the type that is waited for, if one is.
	condition string
}

func parseGoal(s string) (goal, error) {
	kind, arg, _ := strings.Cut(s, "=")
	switch {
	case s == "":
		return goal{}, usagef("say what to wait for, such as --for=condition=Ready")
	case s == "delete":
		return goal{missing: true, words: "the deletion", done: "deleted",
			met: func(r *v1alpha3.DomainRecord) (bool, error) { return r == nil, nil }}, nil
	case s == "create":
		return goal{missing: true, words: "the creation", done: "condition met",
			met: func(r *v1alpha3.DomainRecord) (bool, error) { return r != nil, nil }}, nil
	case kind == "condition" && arg != "":
		return conditionGoal(arg)
	case kind == "jsonpath" && arg != "":
		return pathGoal(arg)
	}
	return goal{}, usagef("--for=%s is none of condition=TYPE[=STATUS], create, delete, jsonpath={PATH}[=VALUE]", quote(s))
}

func conditionGoal(arg string) (goal, error) {
	name, status, given := strings.Cut(arg, "=")
	if !given {
		status = string(metav1.ConditionTrue)
	}
	i := slices.IndexFunc(v1alpha3.ConditionTypes(), func(t string) bool { return strings.EqualFold(t, name) })
	if i < 0 {
		return goal{}, usagef("%s is no condition: give one of %s", quote(name), strings.Join(v1alpha3.ConditionTypes(), ", "))
	}
	name = v1alpha3.ConditionTypes()[i]
	statuses := []string{"True", "False", "Unknown"}
	if i = slices.IndexFunc(statuses, func(t string) bool { return strings.EqualFold(t, status) }); i < 0 {
		return goal{}, usagef("%s is no status of a condition: give one of %s", quote(status), strings.Join(statuses, ", "))
	}
	status = statuses[i]
	return goal{words: "condition " + name + "=" + status, done: "condition met", condition: name,
		met: func(r *v1alpha3.DomainRecord) (bool, error) {
			if r == nil {
				return false, nil
			}
			c := r.Status.Condition(name)
			if c == nil {
				return false, nil
			}
			seen := c.ObservedGeneration
			if seen == 0 {
				seen = r.Status.ObservedGeneration
			}
			return string(c.Status) == status && (seen == 0 || seen >= r.Generation), nil
		}}, nil
}

func pathGoal(arg string) (goal, error) {
	path, want, given := arg, "", false
	if i := strings.LastIndex(arg, "}="); i >= 0 {
		path, want, given = arg[:i+1], arg[i+2:], true
	} else if !strings.HasPrefix(arg, "{") {
		path, want, given = strings.Cut(arg, "=")
	}
	j := jsonpath.New("for").AllowMissingKeys(true)
	if err := j.Parse(relaxed(path)); err != nil {
		return goal{}, usagef("--for=jsonpath: %v", err)
	}
	return goal{words: "jsonpath " + arg, done: "condition met",
		met: func(r *v1alpha3.DomainRecord) (bool, error) {
			if r == nil {
				return false, nil
			}
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(r)
			if err != nil {
				return false, fmt.Errorf("reading the record: %w", err)
			}
			var out bytes.Buffer
			if err := j.Execute(&out, content); err != nil {
				return false, fmt.Errorf("evaluating %s: %w", quote(path), err)
			}
			return given && out.String() == want || !given && out.Len() > 0, nil
		}}, nil
}

func (o *waitOptions) wait(ctx context.Context, c *client, arg string, g goal) error {
	name, err := c.name(ctx, arg)
	if err != nil {
		return o.late(err, arg, nil, g)
	}
	var last *v1alpha3.DomainRecord
	shown := map[string]metav1.Condition{}
	existed := false
	err = c.followRecord(ctx, name, func(r *v1alpha3.DomainRecord) (bool, error) {
		last = r
		o.progress(r, shown)
		met, err := g.met(r)
		switch {
		case err != nil || met:
			return true, err
		case r == nil && existed && !g.missing:
			return true, fmt.Errorf("%q was deleted while %s was waited for", name, g.words)
		case r == nil && !g.missing:
			return true, fmt.Errorf("there is no record %q: apply it first, or wait with --for=create", name)
		case g.once:
			return true, context.DeadlineExceeded
		}
		existed = existed || r != nil
		return false, nil
	})
	if err != nil {
		return o.late(err, name, last, g)
	}
	fmt.Fprintf(o.env.Stdout, "%s %s\n", told(name), g.done)
	return nil
}

// late says what was still missing when the time was over.
func (o *waitOptions) late(err error, name string, last *v1alpha3.DomainRecord, g goal) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	msg := fmt.Sprintf("timed out after %v waiting for %s of %q", o.timeout, g.words, name)
	if g.once {
		msg = fmt.Sprintf("%q does not have %s", name, g.words)
	}
	if last != nil && g.condition != "" {
		if c := last.Status.Condition(g.condition); c != nil {
			return fmt.Errorf("%s: it is %s, %s: %s", msg, c.Status, c.Reason, c.Message)
		}
		return fmt.Errorf("%s: the record has no such condition yet", msg)
	}
	return errors.New(msg)
}

// progress prints every condition that is not as it was printed last.
func (o *waitOptions) progress(r *v1alpha3.DomainRecord, told map[string]metav1.Condition) {
	if r == nil || o.quiet {
		return
	}
	for _, c := range r.Status.Conditions {
		before, ok := told[c.Type]
		if ok && before.Status == c.Status && before.Reason == c.Reason && before.Message == c.Message {
			continue
		}
		told[c.Type] = c
		line := fmt.Sprintf("%s %s: %s=%s %s", o.env.Now().Format(time.TimeOnly), r.Name, c.Type, c.Status, c.Reason)
		if c.Message != "" {
			line += ": " + strings.Join(strings.Fields(c.Message), " ")
		}
		fmt.Fprintln(o.env.Stderr, harmless(line))
	}
}
