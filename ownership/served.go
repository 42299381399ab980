package ownership

import (
	"strconv"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// served is the certificate that handshakes are shown. What proves ownership goes by
// certificate alone, so that an upload cannot.
type served struct {
	stored   bool // there is one, expired or not
	valid    bool // and it is unexpired
	uploaded bool // it is the customer's own
	gone     bool // the customer's own is missed in storage
	status   *v1alpha3.CertificateStatus
}

// judgeServed chooses between the certificate that was obtained and the customer's own.
func (e *evaluation) judgeServed() served {
	if !e.tls {
		return served{}
	}
	s := served{stored: e.cert.stored, valid: e.cert.valid, status: e.cert.status}
	u := e.obs.Certificate.Uploaded
	if u == nil || u.RecordUID != string(e.r.UID) {
		if c := e.prev.Certificate; u == nil && !e.cert.told && c != nil && c.Source == v1alpha3.SourceUploaded {
			return servedUpload(c, e.now)
		}
		return s
	}
	if s.gone = !u.Gone.IsZero(); s.gone || u.Replaced && s.valid || s.valid && !u.NotAfter.After(e.now) {
		return s
	}
	return servedUpload(&v1alpha3.CertificateStatus{
		Issuer: words(u.Issuer), SerialNumber: words(u.SerialNumber),
		NotBefore: moment(u.NotBefore), NotAfter: moment(u.NotAfter), RenewalTime: moment(u.RenewalTime),
		Source: v1alpha3.SourceUploaded,
	}, e.now)
}

func servedUpload(c *v1alpha3.CertificateStatus, now time.Time) served {
	return served{uploaded: true, stored: true, valid: c.NotAfter != nil && c.NotAfter.After(now), status: c}
}

// UploadWarnings are how many days before the end of a customer's own certificate it is
// warned of, the first first.
var UploadWarnings = []int{30, 14, 3}

// UploadWarning is the last of UploadWarnings that has come, 0 for none.
func UploadWarning(notAfter, now time.Time) (days int) {
	for _, d := range UploadWarnings {
		if !now.Before(notAfter.Add(-time.Duration(d) * 24 * time.Hour)) {
			days = d
		}
	}
	return days
}

// uploadSentence says that the customer's own certificate is about to expire, or is
// missed, and who must act.
func (e *evaluation) uploadSentence() string {
	if e.served.gone {
		return "The certificate that was uploaded is not in storage since " + stamp(e.obs.Certificate.Uploaded.Gone) + " at the latest. The operator looks whether the storage is mounted, or uploads it again."
	}
	if !e.served.uploaded || !e.served.valid || e.dns01() || e.http01() {
		return ""
	}
	days := UploadWarning(e.served.status.NotAfter.Time, e.now)
	if days == 0 {
		return ""
	}
	return "It ends in less than " + strconv.Itoa(days) + " days, and none can be obtained in its place: the customer brings another one to upload, or has one obtained. " + e.waiting()
}
