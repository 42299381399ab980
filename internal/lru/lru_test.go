package lru

import (
	"testing"
	"time"
)

func TestTheLeastRecentlyUsedGoesFirst(t *testing.T) {
	c := New[int](2)
	c.Put("a", 1, time.Hour)
	c.Put("b", 2, time.Hour)
	c.Get("a")
	c.Put("c", 3, time.Hour)
	c.Put("c", 4, time.Hour)
	for key, want := range map[string]int{"a": 1, "b": 0, "c": 4} {
		if got, ok := c.Get(key); got != want || ok != (want != 0) {
			t.Errorf("%s: %d, %v, want %d", key, got, ok, want)
		}
	}
}

func TestWhatIsOverOrDroppedIsForgotten(t *testing.T) {
	c := New[int](2)
	c.Put("over", 1, -time.Nanosecond)
	c.Put("dropped", 2, time.Hour)
	c.Drop("dropped")
	for _, key := range []string{"over", "dropped", "never"} {
		if got, ok := c.Get(key); ok {
			t.Errorf("%s: %d is remembered", key, got)
		}
	}
	if n := len(c.byKey) + c.order.Len(); n != 0 {
		t.Errorf("%d places are held", n)
	}
}
