package setup

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/webui"
)

// Records are what a site shows. All methods may be called by many at once.
type Records interface {
	// Record returns the record of a name as the API would. The error is
	// store.ErrNotFound if there is none. Old: the store could not confirm it.
	Record(ctx context.Context, name string) (r *v1alpha3.DomainRecord, old bool, err error)
	// Changed returns once the record of a hostname stands at another revision than the
	// one that is named, and which: 0 if there is none any more. The error is the
	// context's, or says that too many wait.
	Changed(ctx context.Context, hostname string, revision int64) (int64, error)
	// Look asks that the DNS of a hostname is looked at soon. It may be called at any
	// rate.
	Look(r *http.Request, hostname string)
	// Addresses are those of the edge, for the top of a zone.
	Addresses() []netip.Addr
}

// Config is what a Site is made of besides its Options.
type Config struct {
	// Records and Key are required. Key returns the key that links are checked with.
	Records Records
	Key     func(ctx context.Context) ([]byte, error)
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Logger gets what goes wrong inside. Default: nothing is logged.
	Logger *zap.Logger
	// Pace is how streams behave.
	Pace Pace
}

// readTimeout bounds the reading of one page's record.
const readTimeout = 5 * time.Second

//go:embed page.css
var pageCSS string

// Site serves the pages of links. It is safe for concurrent use.
type Site struct {
	cfg      Config
	options  Options
	url      *url.URL
	base     string // path with a final slash
	support  string
	policy   webui.Policy
	tongues  tongues
	css      []byte
	brand    string // name of css
	logo     string // URL; empty: none
	logoName string // of the file; empty: none
	assets   http.Handler

	closing chan struct{}
	close   sync.Once
	mu      sync.Mutex
	open    map[string]int // streams by the record's uid
	streams int
}

// New makes a site. The error names the option, its value and the mend.
func New(o Options, cfg Config) (*Site, error) {
	s := &Site{cfg: cfg, options: o, assets: webui.Assets(), closing: make(chan struct{}), open: map[string]int{}}
	if s.cfg.Now == nil {
		s.cfg.Now = time.Now
	}
	if s.cfg.Logger == nil {
		s.cfg.Logger = zap.NewNop()
	}
	s.cfg.Pace = cfg.Pace.withDefaults()
	var err error
	if s.url, err = ParseURL(o.URL); err != nil {
		return nil, err
	}
	s.base = s.url.Path + "/"
	if err := CheckTitle(o.Title); err != nil {
		return nil, err
	}
	if err := o.Colours.Check(); err != nil {
		return nil, fmt.Errorf("colors: %w", err)
	}
	s.css = []byte(o.Colours.css() + pageCSS)
	s.brand = hashed("brand", s.css, "css")
	if o.Support != "" {
		if s.support, err = ParseSupport(o.Support); err != nil {
			return nil, err
		}
	}
	if s.policy.FrameAncestors, err = ancestors(o.FrameAncestors); err != nil {
		return nil, err
	}
	if err := s.takeLogo(); err != nil {
		return nil, err
	}
	return s, s.takeMessages()
}

func (s *Site) takeLogo() error {
	switch o := s.options; {
	case o.LogoURL != "":
		if err := CheckLogoURL(o.LogoURL); err != nil {
			return err
		}
		u, err := url.Parse(o.LogoURL)
		if err != nil {
			return fmt.Errorf("logo: %w", err)
		}
		s.logo, s.policy.Images = o.LogoURL, []string{u.Scheme + "://" + u.Host}
	case o.Logo != nil:
		if err := CheckLogo(o.Logo); err != nil {
			return err
		}
		_, kind, _ := strings.Cut(logoType(o.Logo), "/")
		s.logoName = hashed("logo", o.Logo, strings.TrimSuffix(kind, "+xml"))
		s.logo = s.base + "assets/" + s.logoName
	}
	return nil
}

func (s *Site) takeMessages() error {
	messages := Delivered()
	if s.options.Messages != nil {
		more, err := messages.With(s.options.Messages)
		if err != nil {
			return fmt.Errorf("messages: %w", err)
		}
		messages = more
	}
	languages, err := messages.languages(s.options.Languages)
	if err != nil {
		return fmt.Errorf("languages: %w", err)
	}
	s.tongues = newTongues(languages, messages)
	return nil
}

// hashed is a file's name that changes with what is in it.
func hashed(name string, content []byte, ext string) string {
	sum := sha256.Sum256(content)
	return name + "." + hex.EncodeToString(sum[:6]) + "." + ext
}

// LinkURL is where a token's page is, at a site's URL.
func LinkURL(base *url.URL, token string) string {
	u := *base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + token
	return u.String()
}

// URL is where the site is.
func (s *Site) URL() *url.URL { return s.url }

// Close ends all streams: browsers open them again elsewhere. It may be called twice.
func (s *Site) Close() { s.close.Do(func() { close(s.closing) }) }
