package source

import (
	"math"
	"strconv"
)

// bigNumber reads a number of many digits.
func bigNumber(digits []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil && n >= 0
}

// whole is f as an integer from 0 up.
func whole(f float64) (int64, bool) {
	if math.IsNaN(f) || f < 0 || f >= 1<<63 {
		return 0, false
	}
	return int64(math.Round(f)), true
}

// addUp adds where the sum is still a number; ok is false where it is not.
func addUp(a, b int64) (sum int64, ok bool) {
	return a + b, b <= math.MaxInt64-a
}

// secondUTC reads the form in which kubelets write times, 2006-01-02T15:04:05Z, as
// Unix nanoseconds. ok is false of any other form and of times before 1970.
func secondUTC(s []byte) (at int64, ok bool) {
	if len(s) != 20 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[19] != 'Z' {
		return 0, false
	}
	year, a := pair(s[0], s[1])
	low, b := pair(s[2], s[3])
	month, c := pair(s[5], s[6])
	day, d := pair(s[8], s[9])
	hour, e := pair(s[11], s[12])
	minute, f := pair(s[14], s[15])
	second, g := pair(s[17], s[18])
	year = year*100 + low
	digits := a && b && c && d && e && f && g
	if !digits || year < 1970 || year > 2261 || month < 1 || month > 12 ||
		day < 1 || day > daysOf(year, month) || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	// Years begin in March here, so that the day of leap years is the last.
	y, m := year, month-3
	if m < 0 {
		y, m = y-1, m+12
	}
	days := y*365 + y/4 - y/100 + y/400 + (153*m+2)/5 + day - 719469
	return (((days*24+hour)*60+minute)*60 + second) * 1e9, true
}

func pair(tens, ones byte) (int64, bool) {
	t, o := tens-'0', ones-'0'
	return int64(t)*10 + int64(o), t <= 9 && o <= 9
}

func daysOf(year, month int64) int64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}
