package v1alpha3

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// The functions below follow the form that deepcopy-gen gives them. A test
// fills every field of a record and holds that no copy shares memory with it,
// so a new field cannot be forgotten here.

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *DomainRecord) DeepCopyInto(out *DomainRecord) {
	*out = *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	in.Spec.DeepCopyInto(&out.Spec)
	in.Status.DeepCopyInto(&out.Status)
}

// DeepCopy returns a copy that shares nothing with the receiver.
func (in *DomainRecord) DeepCopy() *DomainRecord {
	if in == nil {
		return nil
	}
	out := new(DomainRecord)
	in.DeepCopyInto(out)
	return out
}

// DeepCopyObject is DeepCopy as a runtime.Object.
func (in *DomainRecord) DeepCopyObject() runtime.Object {
	if in == nil {
		return nil
	}
	return in.DeepCopy()
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *DomainRecordList) DeepCopyInto(out *DomainRecordList) {
	*out = *in
	in.ListMeta.DeepCopyInto(&out.ListMeta)
	if in.Items != nil {
		out.Items = make([]DomainRecord, len(in.Items))
		for i := range in.Items {
			in.Items[i].DeepCopyInto(&out.Items[i])
		}
	}
}

// DeepCopy returns a copy that shares nothing with the receiver.
func (in *DomainRecordList) DeepCopy() *DomainRecordList {
	if in == nil {
		return nil
	}
	out := new(DomainRecordList)
	in.DeepCopyInto(out)
	return out
}

// DeepCopyObject is DeepCopy as a runtime.Object.
func (in *DomainRecordList) DeepCopyObject() runtime.Object {
	if in == nil {
		return nil
	}
	return in.DeepCopy()
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *DomainRecordSpec) DeepCopyInto(out *DomainRecordSpec) {
	*out = *in
	out.TTL = copyPointer(in.TTL)
	if in.TLS != nil {
		out.TLS = new(DomainRecordTLS)
		in.TLS.DeepCopyInto(out.TLS)
	}
	in.Target.DeepCopyInto(&out.Target)
}

// DeepCopy returns a copy that shares nothing with the receiver.
func (in *DomainRecordSpec) DeepCopy() *DomainRecordSpec {
	if in == nil {
		return nil
	}
	out := new(DomainRecordSpec)
	in.DeepCopyInto(out)
	return out
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *DomainRecordTarget) DeepCopyInto(out *DomainRecordTarget) {
	*out = *in
	if in.Ref != nil {
		out.Ref = new(TargetRef)
		in.Ref.DeepCopyInto(out.Ref)
	}
	out.Redirect = in.Redirect.DeepCopy()
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *TargetRedirect) DeepCopyInto(out *TargetRedirect) {
	*out = *in
	out.Scheme = copyPointer(in.Scheme)
	out.Hostname = copyPointer(in.Hostname)
	out.Port = copyPointer(in.Port)
	if in.Path != nil {
		out.Path = new(RedirectPath)
		in.Path.DeepCopyInto(out.Path)
	}
	out.StatusCode = copyPointer(in.StatusCode)
}

// DeepCopy returns a copy that shares nothing with the receiver.
func (in *TargetRedirect) DeepCopy() *TargetRedirect {
	if in == nil {
		return nil
	}
	out := new(TargetRedirect)
	in.DeepCopyInto(out)
	return out
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *RedirectPath) DeepCopyInto(out *RedirectPath) {
	*out = *in
	out.ReplaceFullPath = copyPointer(in.ReplaceFullPath)
	out.ReplacePrefixMatch = copyPointer(in.ReplacePrefixMatch)
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *DomainRecordTLS) DeepCopyInto(out *DomainRecordTLS) {
	*out = *in
	out.CertificateAuthority = copyPointer(in.CertificateAuthority)
	out.Disabled = copyPointer(in.Disabled)
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *TargetRef) DeepCopyInto(out *TargetRef) {
	*out = *in
	out.Group = copyPointer(in.Group)
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *DomainRecordStatus) DeepCopyInto(out *DomainRecordStatus) {
	*out = *in
	out.ResolvedValues = slices.Clone(in.ResolvedValues)
	if in.DNSRecords != nil {
		out.DNSRecords = make([]DNSRecord, len(in.DNSRecords))
		for i := range in.DNSRecords {
			in.DNSRecords[i].DeepCopyInto(&out.DNSRecords[i])
		}
	}
	out.DNSProvider = copyPointer(in.DNSProvider)
	out.DomainConnect = copyPointer(in.DomainConnect)
	if in.Certificate != nil {
		out.Certificate = new(CertificateStatus)
		in.Certificate.DeepCopyInto(out.Certificate)
	}
	out.Ownership = in.Ownership.DeepCopy()
	if in.Conditions != nil {
		out.Conditions = make([]metav1.Condition, len(in.Conditions))
		for i := range in.Conditions {
			in.Conditions[i].DeepCopyInto(&out.Conditions[i])
		}
	}
}

// DeepCopy returns a copy that shares nothing with the receiver.
func (in *DomainRecordStatus) DeepCopy() *DomainRecordStatus {
	if in == nil {
		return nil
	}
	out := new(DomainRecordStatus)
	in.DeepCopyInto(out)
	return out
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *DNSRecord) DeepCopyInto(out *DNSRecord) {
	*out = *in
	out.Observed = slices.Clone(in.Observed)
	out.LastTransitionTime = in.LastTransitionTime.DeepCopy()
	out.Problem = copyPointer(in.Problem)
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *CertificateStatus) DeepCopyInto(out *CertificateStatus) {
	*out = *in
	out.NotBefore = in.NotBefore.DeepCopy()
	out.NotAfter = in.NotAfter.DeepCopy()
	out.RenewalTime = in.RenewalTime.DeepCopy()
}

// DeepCopyInto copies the receiver into out, sharing nothing.
func (in *OwnershipStatus) DeepCopyInto(out *OwnershipStatus) {
	*out = *in
	out.VerifiedTime = in.VerifiedTime.DeepCopy()
	out.WithdrawnTime = in.WithdrawnTime.DeepCopy()
}

// DeepCopy returns a copy that shares nothing with the receiver.
func (in *OwnershipStatus) DeepCopy() *OwnershipStatus {
	if in == nil {
		return nil
	}
	out := new(OwnershipStatus)
	in.DeepCopyInto(out)
	return out
}

// copyPointer copies what p points at, which must not hold pointers itself.
func copyPointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
