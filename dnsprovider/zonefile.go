package dnsprovider

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/filewatch"
)

// maxZoneFile bounds the size of a zone file, in octets.
const maxZoneFile = 64 << 20

// ZoneFile is a zone served from an RFC 1035 master file. Run reloads it when
// the file changes; a file with a mistake in it leaves the zone as it was.
type ZoneFile struct {
	origin string
	wire   []byte
	path   string
	logger *zap.Logger

	zone atomic.Pointer[fileZone]
	// mu is held while the file is read.
	mu     sync.Mutex
	loaded filewatch.Stamp
}

// OpenZoneFile reads the zone of that name from the file. An error names the
// file and the line. The logger may be nil.
func OpenZoneFile(name, path string, logger *zap.Logger) (*ZoneFile, error) {
	origin, err := hostName(name)
	if err != nil {
		return nil, fmt.Errorf("zonefile: %w", err)
	}
	if logger == nil {
		logger = zap.NewNop()
	}
	f := &ZoneFile{origin: origin, path: path, logger: logger}
	if f.wire, err = packLower(origin); err != nil {
		return nil, fmt.Errorf("zonefile: %w", err)
	}
	if err := f.reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Name is the zone's name: lower case, no final dot.
func (f *ZoneFile) Name() string { return f.origin }

// Path is the file's.
func (f *ZoneFile) Path() string { return f.path }

// reload reads the file now. With an error, which names the file and the line,
// the zone stays as it was.
func (f *ZoneFile) reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("reading zone file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("reading zone file: %w", err)
	}
	f.loaded = filewatch.Of(f.path, info)
	if info.Size() > maxZoneFile || !info.Mode().IsRegular() {
		return fmt.Errorf("reading zone file %s: want a regular file of at most %d octets", f.path, maxZoneFile)
	}
	zone, err := parseZone(io.LimitReader(file, maxZoneFile), f.origin, f.path)
	if err != nil {
		return fmt.Errorf("reading zone file: %w", err)
	}
	f.zone.Store(zone)
	for _, d := range zone.duplicates {
		f.logger.Warn("zone file has a record twice; one is dropped", zap.String("zone", f.origin), zap.String("file", f.path),
			zap.Int("line", d.line), zap.String("owner", cut(d.owner)), zap.String("type", d.typ))
	}
	return nil
}

// Run looks at the file until the context ends and reloads it when it changed.
func (f *ZoneFile) Run(ctx context.Context) {
	f.mu.Lock()
	loaded := f.loaded
	f.mu.Unlock()
	look := func() (filewatch.Stamp, error) { return filewatch.Look(f.path) }
	filewatch.Run(ctx, loaded, look, func(err error) {
		f.logger.Error("zone file cannot be seen; serving what it held", zap.String("zone", f.origin), zap.Error(err))
	}, func(now filewatch.Stamp) filewatch.Stamp {
		if err := f.reload(); err != nil {
			f.logger.Error("zone file was changed but not taken; serving what it held before",
				zap.String("zone", f.origin), zap.Error(err))
			return now
		}
		f.logger.Info("zone file reloaded", zap.String("zone", f.origin), zap.String("file", f.path))
		return now
	})
}

func (f *ZoneFile) apex() []byte { return f.wire }

func (f *ZoneFile) find(s *scratch, qtype uint16) { f.zone.Load().find(s, qtype) }
