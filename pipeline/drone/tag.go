package drone

import (
	"regexp"
	"strconv"
	"sync"
)

// semver is the expression that semver.org suggests, with a v in front.
var semver = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)
})

// calver takes a year of two or four digits and a month.
var calver = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^v?(\d{2}|\d{4})\.(\d{1,2})(?:\.(\d+))?(?:[-.]([0-9A-Za-z.-]+))?$`)
})

// tagValues are the variables about a tag, as a version by number or by date.
func tagValues(tag string) map[string]string {
	v := map[string]string{"DRONE_TAG": tag, "CI_COMMIT_TAG": tag}
	if m := semver().FindStringSubmatch(tag); m != nil {
		short := m[1] + "." + m[2] + "." + m[3]
		v["DRONE_SEMVER"], v["DRONE_SEMVER_SHORT"] = short, short
		v["DRONE_SEMVER_MAJOR"], v["DRONE_SEMVER_MINOR"], v["DRONE_SEMVER_PATCH"] = m[1], m[2], m[3]
		if m[4] != "" {
			v["DRONE_SEMVER_PRERELEASE"] = m[4]
			v["DRONE_SEMVER"] += "-" + m[4]
		}
		if m[5] != "" {
			v["DRONE_SEMVER_BUILD"] = m[5]
			v["DRONE_SEMVER"] += "+" + m[5]
		}
	} else {
		v["DRONE_SEMVER_ERROR"] = tag + " is not a semantic version"
	}
	if m := calver().FindStringSubmatch(tag); m != nil && isDate(m[1], m[2]) {
		v["DRONE_CALVER"], v["DRONE_CALVER_MAJOR"], v["DRONE_CALVER_MINOR"] = tag, m[1], m[2]
		v["DRONE_CALVER_MAJOR_MINOR"], v["DRONE_CALVER_SHORT"] = m[1]+"."+m[2], m[1]+"."+m[2]
		v["DRONE_CALVER_MICRO"], v["DRONE_CALVER_MODIFIER"] = m[3], m[4]
		if m[3] != "" {
			v["DRONE_CALVER_SHORT"] += "." + m[3]
		}
	}
	return v
}

// isDate tells a year and a month from other numbers.
func isDate(year, month string) bool {
	y, yearErr := strconv.Atoi(year)
	m, monthErr := strconv.Atoi(month)
	return yearErr == nil && monthErr == nil && (y >= 2000 || y >= 15 && y < 100) && m >= 1 && m <= 12
}
