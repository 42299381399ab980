package ownership

// Brake reports whether so many verified records would fall together that the
// fault is more likely ours than theirs: more than a tenth of all verified ones
// (those that would fall included) and at least ten. Then none falls.
func Brake(verified, falling int) bool {
	return falling >= brakeLeast && falling*brakeShare > verified
}

const (
	brakeLeast = 10
	brakeShare = 10
)
