package caddyapoxy

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/apoxy-dev/caddy-apoxy/setup"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("apoxy_setup", parseSetupPage)
	httpcaddyfile.RegisterDirectiveOrder("apoxy_setup", httpcaddyfile.Before, "reverse_proxy")
}

// parseSetupPage sets up the handler. Syntax:
//
//	apoxy_setup [<matcher>] {
//		url             <url>
//		title           <text>
//		logo            <file or url>
//		colors          <name> <rrggbb>...
//		support         <e-mail address or url>
//		languages       <tags...>
//		messages        <file>
//		frame_ancestors <origins...>
//	}
//
// colors, languages and frame_ancestors may be repeated. A block in one line comes here
// without its braces, see oneLineAdapter.
func parseSetupPage(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume the directive's name
	s := new(SetupPage)
	var options [][]string // of the line
	for h.NextArg() {
		if text := h.Val(); setupOptions[text] != nil {
			options = append(options, []string{text})
		} else if n := len(options); n == 0 {
			return nil, h.Errf("apoxy_setup takes a block, got %.100q", text)
		} else {
			options[n-1] = append(options[n-1], text)
		}
	}
	for _, o := range options {
		if err := s.option(o[0], o[1:]); err != nil {
			return nil, h.WrapErr(err)
		}
	}
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		if err := s.option(h.Val(), h.RemainingArgs()); err != nil {
			return nil, h.WrapErr(err)
		}
	}
	if s.URL == "" {
		return nil, h.Err("apoxy_setup: expected where the page is, such as `url https://setup.example.net`")
	}
	return s, nil
}

// setupOptions read the arguments of each option.
var setupOptions = map[string]func(s *SetupPage, args []string) error{
	"url": func(s *SetupPage, args []string) error {
		return oneText(&s.URL, args, "one URL, such as https://setup.example.net", func(text string) error {
			_, err := setup.ParseURL(text)
			return err
		})
	},
	"title": func(s *SetupPage, args []string) error {
		return oneText(&s.Title, args, "one text, in quotation marks where it has blanks", setup.CheckTitle)
	},
	"logo": func(s *SetupPage, args []string) error {
		return oneText(&s.Logo, args, "a file or an https URL", func(text string) error {
			if !setup.IsURL(text) {
				return nil // a file is read when the configuration is loaded
			}
			return setup.CheckLogoURL(text)
		})
	},
	"support": func(s *SetupPage, args []string) error {
		return oneText(&s.Support, args, "an e-mail address or a URL", func(text string) error {
			_, err := setup.ParseSupport(text)
			return err
		})
	},
	"messages": func(s *SetupPage, args []string) error {
		return oneText(&s.Messages, args, "a file", func(string) error { return nil })
	},
	"colors": (*SetupPage).parseColors,
	"languages": func(s *SetupPage, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("expected tags, such as `languages en de`")
		}
		for _, a := range args {
			if _, err := setup.Language(a); err != nil {
				return err
			}
		}
		s.Languages = append(s.Languages, args...)
		return nil
	},
	"frame_ancestors": func(s *SetupPage, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("expected origins, such as `frame_ancestors https://app.example.net`")
		}
		for _, a := range args {
			if hasPlaceholder(a) {
				continue
			}
			if err := setup.CheckAncestor(a); err != nil {
				return err
			}
		}
		s.FrameAncestors = append(s.FrameAncestors, args...)
		return nil
	},
}

// option takes one option in.
func (s *SetupPage) option(name string, args []string) error {
	read, ok := setupOptions[name]
	if !ok {
		return fmt.Errorf("apoxy_setup has no option %.100q: expected url, title, logo, colors, support, languages, messages or frame_ancestors", name)
	}
	if err := read(s, args); err != nil {
		if strings.HasPrefix(err.Error(), name) { // it names the option itself
			return fmt.Errorf("apoxy_setup: %w", err)
		}
		return fmt.Errorf("apoxy_setup: %s: %w", name, err)
	}
	return nil
}

// oneText takes the one argument of an option in; what is in placeholders is checked
// when they are known.
func oneText(to *string, args []string, expected string, check func(string) error) error {
	switch {
	case len(args) != 1 || args[0] == "":
		return fmt.Errorf("expected %s", expected)
	case *to != "":
		return fmt.Errorf("it stands twice: take one out")
	case !hasPlaceholder(args[0]):
		if err := check(args[0]); err != nil {
			return err
		}
	}
	*to = args[0]
	return nil
}

// parseColors reads pairs. The # may be left out, because it begins a comment where it
// is not quoted.
func (s *SetupPage) parseColors(args []string) error {
	if len(args) == 0 || len(args)%2 != 0 {
		return fmt.Errorf("expected names and values, such as `colors accent 1f5fae`; with a # the value is quoted, which begins a comment else")
	}
	if s.Colors == nil {
		s.Colors = map[string]string{}
	}
	for i := 0; i < len(args); i += 2 {
		if _, twice := s.Colors[args[i]]; twice {
			return fmt.Errorf("%.40q stands twice: take one out", args[i])
		}
		value := args[i+1]
		if len(value) == 6 {
			value = "#" + value
		}
		s.Colors[args[i]] = value
	}
	return setup.Colours(s.Colors).Check()
}
