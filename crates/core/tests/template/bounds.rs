//! No template takes more than a fixed share of time, memory or stack. The tests run on threads with 2 MiB of
//! stack, as the threads of the server have.

use std::time::{Duration, Instant};

use marblerun_core::template::{Place, compile};

use crate::fixture::Fixture;

fn run(source: &str) -> Result<Vec<u8>, String> {
    let start = Instant::now();
    let result = Fixture::load()
        .run(Place::File, source.as_bytes())
        .map_err(|error| error.message);
    // Far more than needed, also without optimisation; a template that hangs takes forever.
    assert!(start.elapsed() < Duration::from_secs(60), "{source:.60}");
    result
}

fn fails(source: &str, text: &str) {
    match run(source) {
        Ok(output) => panic!("{source:.60}: rendered {} bytes", output.len()),
        Err(message) => assert!(message.contains(text), "{source:.60}: {message}"),
    }
}

#[test]
fn output_is_bounded() {
    let megabyte = "x".repeat(1 << 20);
    let define = format!("{{{{ define \"t\" }}}}{megabyte}{{{{ end }}}}");
    let output = run(&format!(
        "{define}{{{{ range 16 }}}}{{{{ template \"t\" }}}}{{{{ end }}}}"
    ));
    assert_eq!(output.map(|output| output.len()), Ok(16 << 20));
    fails(
        &format!("{define}{{{{ range 17 }}}}{{{{ template \"t\" }}}}{{{{ end }}}}"),
        "larger than 16 MiB",
    );
    fails(
        &format!("{define}{{{{ range 16 }}}}{{{{ template \"t\" }}}}{{{{ end }}}}y"),
        "larger than 16 MiB",
    );
}

#[test]
fn strings_are_bounded() {
    // Doubling a string thirty times would make a gigabyte.
    fails(
        "{{ $x := \"xx\" }}{{ range 30 }}{{ $x = print $x $x }}{{ end }}{{ len $x }}",
        "larger than 16 MiB",
    );
    fails("{{ printf \"%9999999d%9999999d\" 1 2 }}", "larger than 16 MiB");
    fails(
        &format!("{{{{ printf \"{}\" 1 }}}}", "%9999999[1]d".repeat(10_000)),
        "larger than 16 MiB",
    );
    assert!(run("{{ len (printf \"%9999999d\" 1) }}").is_ok_and(|output| output == b"9999999"));
    assert!(run("{{ len (printf \"%.9999999f\" 1.5) }}").is_ok_and(|output| output == b"10000001"));
}

#[test]
fn steps_are_bounded() {
    assert!(run("{{ range 9000 }}{{ . }}{{ end }}").is_ok());
    fails("{{ range 9223372036854775807 }}{{ end }}", "100000 steps");
    fails(
        "{{ range 1000000 }}{{ range 1000000 }}{{ end }}{{ end }}",
        "100000 steps",
    );
    fails("{{ range 100000 }}x{{ end }}", "100000 steps");
    // Many steps are also what goes through many bytes.
    let big = "{{ $x := printf \"%9999999d\" 1 }}{{ $y := printf \"%9999999d\" 1 }}";
    fails(
        &format!("{big}{{{{ range 10000 }}}}{{{{ if eq $x $y }}}}{{{{ end }}}}{{{{ end }}}}"),
        "100000 steps",
    );
    fails(
        &format!("{big}{{{{ range 10000 }}}}{{{{ $z := html $x }}}}{{{{ end }}}}"),
        "100000 steps",
    );
    fails(
        &format!("{big}{{{{ range 10000 }}}}{{{{ $z := slice $x 1 }}}}{{{{ end }}}}"),
        "100000 steps",
    );
    fails(
        "{{ $x := hex .Secrets.key }}{{ range 50000 }}{{ $x }}{{ $x }}{{ end }}",
        "100000 steps",
    );
}

#[test]
fn recursion_is_bounded() {
    fails(
        "{{ define \"t\" }}{{ template \"t\" . }}{{ end }}{{ template \"t\" . }}",
        "300 deep",
    );
    fails(
        "{{ define \"t\" }}{{ if true }}{{ template \"t\" (print 1) }}{{ end }}{{ end }}{{ template \"t\" . }}",
        "300 deep",
    );
    let parentheses = format!("{}template{}", "(".repeat(90), ")".repeat(90)).replace("template", "print 1");
    let source = format!(
        "{{{{ define \"t\" }}}}{{{{ template \"t\" {parentheses} }}}}{{{{ end }}}}{{{{ template \"t\" 1 }}}}"
    );
    fails(&source, "300 deep");
    let structures = format!(
        "{}{{{{ template \"t\" . }}}}{}",
        "{{ with 1 }}".repeat(99),
        "{{ end }}".repeat(99)
    );
    fails(
        &format!("{{{{ define \"t\" }}}}{structures}{{{{ end }}}}{{{{ template \"t\" 1 }}}}"),
        "300 deep",
    );
    let recursion = "{{ define \"t\" }}{{ if lt (len .) 100 }}{{ template \"t\" (print . \"x\") }}{{ else }}{{ len . }}{{ end }}{{ end }}{{ template \"t\" \"\" }}";
    assert_eq!(run(recursion), Ok(b"100".to_vec()));
}

#[test]
fn nesting_in_the_source_is_bounded() {
    for (open, close) in [
        ("{{ if true }}", "{{ end }}"),
        ("{{ with 1 }}", "{{ end }}"),
        ("{{ range 1 }}", "{{ end }}"),
        ("{{ if false }}{{ else }}", "{{ end }}"),
        ("{{ range 0 }}{{ else }}{{ with 1 }}", "{{ end }}{{ end }}"),
    ] {
        let levels = if open.contains("with 1") && open.contains("range") {
            50
        } else {
            100
        };
        let nested = |levels| format!("{}x{}", open.repeat(levels), close.repeat(levels));
        assert_eq!(run(&nested(levels)), Ok(b"x".to_vec()), "{open}");
        fails(&nested(levels + 1), "more than 100 deep");
        fails(&nested(200_000), "more than 100 deep");
    }
    let nested = |levels| format!("{{{{ {}1{} }}}}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(run(&nested(100)), Ok(b"1".to_vec()));
    fails(&nested(101), "more than 100 deep");
    fails(&nested(500_000), "more than 100 deep");
    let blocks = |levels: usize| {
        let open: String = (0..levels)
            .map(|level| format!("{{{{ block \"{level}\" . }}}}"))
            .collect();
        format!("{open}x{}", "{{ end }}".repeat(levels))
    };
    assert_eq!(run(&blocks(100)), Ok(b"x".to_vec()));
    fails(&blocks(101), "more than 100 deep");
}

#[test]
fn long_sources_take_time_in_proportion() {
    let times = 30_000;
    assert!(
        run(&format!(
            "{{{{ if false }}}}{}{{{{ end }}}}ok",
            "{{ else if false }}".repeat(times)
        ))
        .is_ok()
    );
    assert!(run(&format!("{{{{ print {} }}}}", "1 ".repeat(times))).is_ok());
    assert!(run(&format!("{{{{ 1 {} }}}}", "| print".repeat(times))).is_ok());
    assert!(run(&"{{/* comment */}}".repeat(times)).is_ok());
    assert!(run(&"{ ".repeat(10 * times)).is_ok());
    assert!(run(&format!("{{{{ \"{}\" }}}}", "\\n".repeat(10 * times))).is_ok());
    let declarations: String = (0..times)
        .map(|index| format!("{{{{ $v{index} := {index} }}}}"))
        .collect();
    assert!(run(&format!("{declarations}{{{{ $v0 }}}}")).is_ok_and(|output| output == b"0"));
    let same = "{{ $x := print $x 1 }}".repeat(100);
    assert!(
        run(&format!("{{{{ $x := \"1\" }}}}{same}{{{{ len $x }}}}")).is_ok_and(|output| output == b"101")
    );
    fails(&"{{ $x }}".repeat(times), "not declared");
    fails(&"{{".repeat(10 * times), "in an action");
    fails(&"{{ (".repeat(10 * times), "in an action");
}

#[test]
fn the_check_is_bounded() {
    // Each branch copies all variables: quadratic, were it not bounded.
    let declarations: String = (0..20_000)
        .map(|index| format!("{{{{ $v{index} := {index} }}}}"))
        .collect();
    let branches = "{{ if true }}{{ end }}".repeat(20_000);
    fails(&format!("{declarations}{branches}"), "too complex");
    // Loops inside each other, each changing what the next one sees: exponential, were it not bounded.
    let open: String = (0..90)
        .map(|index| format!("{{{{ range 2 }}}}{{{{ $a{} = $a{index} }}}}", index + 1))
        .collect();
    let variables: String = (0..=90)
        .map(|index| format!("{{{{ $a{index} := {index} }}}}"))
        .collect();
    let source = format!("{variables}{{{{ $a0 = \"x\" }}}}{open}{}", "{{ end }}".repeat(90));
    let specs = Fixture::load().specs;
    let start = Instant::now();
    let _ = compile(source.as_bytes(), Place::File, &specs);
    assert!(start.elapsed() < Duration::from_secs(30));
    // Templates that call two others: exponential, were each not checked once for each form of its dot.
    let chain: String = (0..200)
        .map(|index| {
            let next = index + 1;
            format!("{{{{ define \"{index}\" }}}}{{{{ template \"{next}\" . }}}}{{{{ template \"{next}\" . }}}}{{{{ end }}}}")
        })
        .collect();
    fails(
        &format!("{chain}{{{{ define \"200\" }}}}{{{{ end }}}}{{{{ template \"0\" . }}}}"),
        "steps",
    );
}
