package issuance

import (
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// uploadFollower follows the index of uploads; read is closed once it has been read.
func (s *Scheduler) uploadFollower() (f store.Follower, read chan struct{}) {
	read = make(chan struct{})
	var once sync.Once
	var seen map[string]bool
	return store.Follower{
		Prefix: UploadPrefix, PageSize: loadPage,
		Begin: func() { seen = map[string]bool{} },
		Page: func(page []store.KeyValue) {
			for _, kv := range page {
				seen[strings.TrimPrefix(kv.Key, UploadPrefix)] = true
				s.learnUpload(kv)
			}
		},
		End: func(revision int64) {
			for _, hostname := range s.entries.uploads() {
				if !seen[hostname] {
					s.learnUpload(store.KeyValue{Key: UploadPrefix + hostname, Revision: revision})
				}
			}
			seen = nil
			once.Do(func() { close(read) })
		},
		Change: func(e *store.Event) {
			s.learnUpload(store.KeyValue{Key: e.Key, Value: e.Value, Revision: e.Revision, Err: e.Err})
		},
		Failed: s.followFailed("reading the index of the certificates that customers brought failed and is tried again; until it has been read once none is obtained"),
	}, read
}

// learnUpload takes over what the store has at a key of the index of uploads.
func (s *Scheduler) learnUpload(kv store.KeyValue) {
	hostname, u, err := strings.TrimPrefix(kv.Key, UploadPrefix), (*upload)(nil), kv.Err
	if err == nil && kv.Value != nil {
		u = new(upload)
		_, *u, err = decodeUpload(kv.Key, kv.Value)
	}
	if err != nil {
		if !store.Report(s.cfg.Store, kv.Key, kv.Revision, err) {
			s.log.Error("what is kept of a certificate that a customer brought cannot be read; it is not shown until it is uploaded again", zap.Error(err))
		}
		return
	}
	if s.entries.learnUpload(hostname, u, kv.Revision) {
		s.cfg.OnChange(hostname)
	}
}

// learnUpload takes over an upload, nil: there is none any more. false: it is not newer
// than what is known.
func (es *entries) learnUpload(hostname string, u *upload, revision int64) bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	e, now := es.of.get(hostname), es.now()
	if ended, ok := es.ended[hostname]; ok {
		if revision < ended {
			return false // of before
		}
		delete(es.ended, hostname)
	}
	if e == nil {
		if u == nil {
			return false
		}
		e = es.add(strings.Clone(hostname))
		e.since = now.UnixNano()
	}
	before := e.upload()
	if before == nil && u == nil || before != nil && before.revision >= revision {
		return false
	}
	if u != nil {
		es.uploaded.Store(true)
		u.revision, u.tended = revision, now.Unix()
	}
	e.put(e.want(), e.dossier(), u)
	es.place(e)
	es.stir(e)
	return true
}

// endUpload is learnUpload for one that was removed here: the store may yet tell of
// changes before that.
func (es *entries) endUpload(hostname string, revision int64) {
	es.mu.Lock()
	if e := es.of.get(hostname); e != nil && e.upload() != nil && e.upload().revision < revision {
		es.ended[hostname] = revision
	}
	es.mu.Unlock()
	es.learnUpload(hostname, nil, revision)
}

// uploads are the hostnames that have one.
func (es *entries) uploads() (out []string) {
	es.each(func(e *entry) {
		if e.upload() != nil {
			out = append(out, e.hostname)
		}
	})
	return out
}

// uploadOf is a copy of a hostname's upload, nil if there is none.
func (es *entries) uploadOf(hostname string) (u *upload) {
	es.read(hostname, func(e *entry) {
		if e != nil {
			u = e.upload() // which is never changed
		}
	})
	return u
}

// Uploaded implements certfiles.Index.
func (s *Scheduler) Uploaded(hostname string) (u certfiles.Upload, ok bool) {
	now := s.now()
	s.entries.read(hostname, func(e *entry) {
		if e == nil || e.upload() == nil {
			return
		}
		if up := e.inForce(e.upload().UID, now); up != nil {
			u, ok = up.file(hostname), true
		}
	})
	return u, ok
}

// ShowsUpload reports whether the customer's own certificate is to be shown for a record:
// one was uploaded for exactly this uid, is unexpired and in storage, and was not replaced
// by one that was obtained. It does not allocate.
func (s *Scheduler) ShowsUpload(hostname, uid string) (shows bool) {
	if !s.entries.uploaded.Load() {
		return false
	}
	now := s.now()
	s.entries.read(hostname, func(e *entry) { shows = e != nil && e.inForce(uid, now) != nil })
	return shows
}
