package controller

// ownWrites tells the controller's own writes of a record, when they come back
// through the store's watch, from those of others. It holds only records whose
// own write is under way or has not come back yet. c.mu guards it.
type ownWrites map[string]*ownWrite

type ownWrite struct {
	revision int64 // of the last that was acknowledged; 0: none
	heard    int64 // newest change heard of while a write is under way
	underWay bool
}

// begin notes that a write of the record is about to be sent.
func (o ownWrites) begin(name string) {
	w := o[name]
	if w == nil {
		w = new(ownWrite)
		o[name] = w
	}
	w.underWay, w.heard = true, 0
}

// end notes what became of it: its revision, or 0 if it failed. It reports
// whether somebody else wrote the record as well.
func (o ownWrites) end(name string, revision int64) (foreign bool) {
	w := o[name]
	if w == nil { // deleted meanwhile
		return false
	}
	w.underWay = false
	w.revision = max(w.revision, revision)
	if w.heard >= w.revision {
		delete(o, name)
	}
	return w.heard > w.revision
}

// heard notes a change of the record and reports whether somebody else made it;
// not while an own write is under way, because end will know.
func (o ownWrites) heard(name string, revision int64) (foreign bool) {
	w := o[name]
	switch {
	case w == nil:
		return true
	case w.underWay:
		w.heard = max(w.heard, revision)
		return false
	case revision >= w.revision:
		delete(o, name)
	}
	return revision > w.revision
}
