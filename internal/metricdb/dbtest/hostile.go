package dbtest

// Hostile are values that would be queries, if anything took them for one.
var Hostile = []string{
	`'`, `"`, `\`, `\\`, `\'`, `a'b`, `a"b`, `a\b`, `a\`, `' OR '1'='1`, `" OR "1"="1`, `'; DROP DATABASE k8s; --`, `"; DROP MEASUREMENT x; --`,
	`') OR ('a'='a`, `$p0`, `$p1`, `${1+1}`, `${r._value}`, `$`, `{}`, `{{.}}`, `|> drop()`, `") |> yield(name: "x`, `from(bucket: "x")`,
	`/.*/`, `=~ /.*/`, `*`, `*::tag`, `a,b`, `a=b`, `a b`, `a, b = c`, ` lead`, `trail `, "a\nb", "a\r\nb", "a\tb", "\n", "a\x00b", "\x7f", "\u202e", "日本語", "é", "e\u0301",
	"🚀", "\xff\xfe", "a\xffb", `#`, `--`, `/* */`, `;`, `now()`, `null`, `true`, `0`, `-1`, `1i`, `%s%n`, `%27`, `&lt;`, `<script>`, `\n`, `\x41`, `\u0041`, `\,`, `\=`, `\ `,
	`\\,`, `,`, `=`, ` `, `a,type=pod`, `x value=1i 1`, "x\nkrm/y value=1i 1", `" or true or "`, `"])`, `r["x"]`, `import "os"`, "`", "``", `()`, `[]`, `a|b`, `^a$`,
}
