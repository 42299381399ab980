package dashboard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The plane that plots are drawn on; a page stretches it to its width.
const (
	plotWidth  = 1000
	plotHeight = 100
)

// bar is a rectangle of a plot.
type bar struct{ X, Y, W, H string }

// plot is a row of bars, and what it shows in words for who does not see it.
type plot struct {
	Name  string
	Words string
	Bars  []bar
	// From and To are the ends of the axis, Top its highest value.
	From, To, Top string
}

// barsOf are bars of these heights; where a value is not known there is none.
func barsOf(values []float64) (bars []bar, top float64) {
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			top = max(top, v)
		}
	}
	if top <= 0 {
		return nil, 0
	}
	step := float64(plotWidth) / float64(len(values))
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
			continue
		}
		height := max(1, v/top*plotHeight)
		bars = append(bars, bar{coordinate(float64(i) * step), coordinate(plotHeight - height), coordinate(step * .85), coordinate(height)})
	}
	return bars, top
}

func coordinate(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// value is a number of a plot in few digits.
func value(v float64) string {
	switch {
	case math.IsNaN(v):
		return "not known"
	case v == math.Trunc(v) && math.Abs(v) < 1e15:
		return number(int(v))
	case math.Abs(v) >= 100:
		return number(int(math.Round(v)))
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// seriesPlot draws what was counted over time.
func seriesPlot(s Series) plot {
	bars, top := barsOf(s.Values)
	p := plot{Name: s.Name, Bars: bars, Top: value(top)}
	last := math.NaN()
	if n := len(s.Values); n > 0 {
		last = s.Values[n-1]
	}
	unit := s.Unit
	if unit != "" {
		unit = " " + unit
	}
	if math.IsNaN(last) && top == 0 {
		p.Words = "nothing is known yet"
		return p
	}
	p.Words = fmt.Sprintf("now %s%s, at most %s", value(last), unit, value(top))
	length := s.Step * time.Duration(len(s.Values))
	p.From, p.To = span(length)+" ago", "now"
	return p
}

// span is a length of time in words.
func span(d time.Duration) string {
	if d >= time.Hour {
		return strings.TrimSuffix(strconv.FormatFloat(d.Hours(), 'f', 1, 64), ".0") + " h"
	}
	return strconv.Itoa(int(d.Round(time.Minute).Minutes())) + " min"
}

// expiryPlot draws how many certificates end on each of the next days.
func expiryPlot(i Issuance) plot {
	values, sum, soon := make([]float64, len(i.Expiries)), 0, 0
	for day, n := range i.Expiries {
		values[day] = float64(n)
		sum += n
		if day < 7 {
			soon += n
		}
	}
	bars, top := barsOf(values)
	p := plot{Name: "Certificates by the day on which they end", Bars: bars, Top: value(top), From: "today", To: fmt.Sprintf("in %d days", len(values))}
	p.Words = fmt.Sprintf("%s end within a week, %s within %d days, %s later; %s ended",
		number(soon), number(sum), len(values), number(i.Later), hasHave(i.Expired))
	if sum > 0 {
		p.Words += "; at most " + p.Top + " on one day"
	}
	return p
}

func hasHave(n int) string {
	if n == 1 {
		return "1 has"
	}
	return number(n) + " have"
}
