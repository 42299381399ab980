package jsonscan

import "fmt"

// Place is where a member of an object lies in a JSON text.
type Place struct {
	// Object is the offset of the object that the member is or would be in; -1: the
	// path does not lead to an object.
	Object int
	// Begin and End are the offsets of the member's value and of what comes after
	// it; End is 0 if there is no such member.
	Begin, End int
}

// Find returns the place of the member at a path of object members, which has at
// least one. It reads no further than it must, so that an error says only that data
// is no JSON up to there. Of members that repeat it takes the first.
func Find(data []byte, path ...string) (Place, error) {
	s, p := scanner{data: data}, Place{}
	for i := 0; i < len(path) && p.Object >= 0; i++ {
		p = s.find(path[i])
		if p.End == 0 && i < len(path)-1 {
			p.Object = -1
		}
	}
	if p.End > 0 {
		s.skip()
		p.End = s.at
	}
	if s.failed {
		return Place{}, fmt.Errorf("walking JSON: what stands at offset %d is wrong, cut short or deeper than %d levels", s.wrong, maxDepth)
	}
	return p, nil
}

// find goes to the value of a member of the object that comes next, of which it does
// not know the end.
func (s *scanner) find(name string) Place {
	if s.peek() != '{' {
		return Place{Object: -1}
	}
	object := s.at
	s.open('{')
	for n := 0; s.more(n, '}'); n++ {
		if string(s.key()) == name {
			s.peek()
			return Place{object, s.at, len(s.data)}
		}
		s.skip()
	}
	return Place{Object: object}
}
