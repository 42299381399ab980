package v1alpha3

// TargetKey is what a TargetRef names, as a value that compares: a group that is
// left out and an empty one are the same.
type TargetKey struct{ Group, Kind, Name string }

// Key returns what the reference names; nothing for nil.
func (in *TargetRef) Key() TargetKey {
	if in == nil {
		return TargetKey{}
	}
	k := TargetKey{Kind: in.Kind, Name: in.Name}
	if in.Group != nil {
		k.Group = *in.Group
	}
	return k
}

// Ref returns a reference that names the target.
func (k TargetKey) Ref() *TargetRef {
	r := &TargetRef{Kind: k.Kind, Name: k.Name}
	if k.Group != "" {
		r.Group = &k.Group
	}
	return r
}

// KindRedirect is the kind of every redirect's TargetKey, which has no group and no
// name. No TargetRef names it.
const KindRedirect = "Redirect"

// Key returns what the target is: what its reference names, or that it is a redirect.
func (in *DomainRecordTarget) Key() TargetKey {
	if in.Redirect != nil {
		return TargetKey{Kind: KindRedirect}
	}
	return in.Ref.Key()
}
