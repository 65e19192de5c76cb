//! Every form in which TOML writes a section.

use super::{set_enabled, set_text};

/// Edits, and asserts that it comes out as written.
fn edited(text: &str, enabled: bool, expected: &str) {
    assert_eq!(set_enabled(text, "x", enabled).as_deref(), Ok(expected), "{text:?}");
    // Once is enough, and what was inserted can be taken back.
    assert_eq!(set_enabled(expected, "x", enabled).as_deref(), Ok(expected));
    assert!(set_enabled(expected, "x", !enabled).is_ok());
}

#[test]
fn a_value_is_changed_wherever_it_stands() {
    for (before, value, after) in [
        ("# top\n[plugins.x]  # head\nenabled   =\t", "false", " # behind\n\n# end"),
        ("[host]\r\n[plugins.x]\r\nenabled = ", "false", "\r\npath = 'a'\r\n"),
        ("plugins.x = { path = \"a\", enabled=", "false", ", max_series = 1 }\n"),
        ("plugins.x.enabled = ", "false", ""),
        ("plugins . \"x\" . 'enabled' = ", "false", "\nplugins.x.config.a = 1\n"),
        ("[plugins]\ny.enabled = false\nx.enabled = ", "false", "\ny.path = 'interleaved'\n"),
        ("[plugins]\nx = {enabled = ", "false", "}\n[plugins.y]\n"),
        ("plugins = { y.enabled = true, x.enabled = ", "false", "}"),
        ("[plugins.\"x\"]\n\"enabled\" = ", "false", "\n"),
        ("\u{feff}[plugins.x]\nenabled = ", "false", "\n"),
        ("[plugins.x.config]\nenabled = true\n[plugins.x]\nenabled = ", "false", "\n"),
    ] {
        edited(&format!("{before}{value}{after}"), true, &format!("{before}true{after}"));
        edited(&format!("{before}true{after}"), false, &format!("{before}false{after}"));
    }
}

#[test]
fn a_missing_key_is_put_into_its_section() {
    edited("[plugins.x]\n", true, "[plugins.x]\nenabled = true\n");
    edited("[plugins.x]", true, "[plugins.x]\nenabled = true");
    edited("[a]\r\n[plugins.x] # why", true, "[a]\r\n[plugins.x] # why\r\nenabled = true");
    edited("  [plugins.x] # why\n  path='a'\n", true, "  [plugins.x] # why\n  enabled = true\n  path='a'\n");
    edited("plugins.x = {}", true, "plugins.x = { enabled = true }");
    edited("plugins.x={path='a'}", true, "plugins.x={ enabled = true, path='a'}");
    edited("plugins.x = { path = 'a' } # c\n", true, "plugins.x = { enabled = true, path = 'a' } # c\n");
    edited(
        " plugins.'x'.path = 'a'\r\nplugins.x.config.b=1",
        true,
        " plugins.'x'.enabled = true\r\n plugins.'x'.path = 'a'\r\nplugins.x.config.b=1",
    );
    edited("[plugins]\nx.path = 'a'", true, "[plugins]\nx.enabled = true\nx.path = 'a'");
    edited("plugins = { x.path = 'a' }", true, "plugins = { x.enabled = true, x.path = 'a' }");
    edited("\u{feff}plugins.x.path='a'", true, "\u{feff}plugins.x.enabled = true\nplugins.x.path='a'");
}

#[test]
fn a_section_that_has_only_a_table_of_the_plugin_gets_its_own() {
    edited(
        "[plugins.a]\n# of a\n[plugins.x.config]\nb = 1\n",
        true,
        "[plugins.a]\n# of a\n[plugins.x]\nenabled = true\n[plugins.x.config]\nb = 1\n",
    );
    edited(
        "[plugins.a]\r\n\r\n# of x\r\n# too\r\n\t[[plugins.x.config.b]]\r\n",
        true,
        "[plugins.a]\r\n\r\n\t[plugins.x]\r\n\tenabled = true\r\n# of x\r\n# too\r\n\t[[plugins.x.config.b]]\r\n",
    );
    edited("# top\n[plugins.x.config]", true, "[plugins.x]\nenabled = true\n# top\n[plugins.x.config]");
}

#[test]
fn a_missing_section_is_put_behind_all_others() {
    edited("", true, "[plugins.x]\nenabled = true\n");
    edited("[host]\n", true, "[host]\n\n[plugins.x]\nenabled = true\n");
    edited("[host]\n# end", true, "[host]\n# end\n\n[plugins.x]\nenabled = true");
    edited("[host]\r\n\r\n", true, "[host]\r\n\r\n[plugins.x]\r\nenabled = true\r\n");
    edited("plugins.y.enabled = true\n", true, "plugins.y.enabled = true\n\n[plugins.x]\nenabled = true\n");
    edited("[plugins]\n", true, "[plugins]\n\n[plugins.x]\nenabled = true\n");
    edited("plugins = {}", true, "plugins = { x = { enabled = true } }");
    edited("plugins = { y.path = 'a' }", true, "plugins = { y.path = 'a', x = { enabled = true } }");
    edited(
        "plugins = {\n  y.path = 'a', # c\n}",
        true,
        "plugins = {\n  y.path = 'a', # c\n x = { enabled = true } }",
    );
}

#[test]
fn what_is_disabled_already_is_left_alone() {
    for text in ["[plugins.x]\n", "plugins.x = {}", "[plugins.x.config]\na = 1\n"] {
        assert_eq!(set_enabled(text, "x", false).as_deref(), Ok(text));
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let refused = |text: &str, plugin: &str, enabled: bool, why: &str| {
        let error = set_enabled(text, plugin, enabled).expect_err(text);
        assert!(error.contains(why), "{error}");
    };
    refused("[plugins.y]\n", "x", false, "no section [plugins.x]");
    refused("", "x", false, "nothing to disable");
    refused("plugins = 5", "x", true, "must be a table");
    refused("plugins.x = 5", "x", true, "must be a table");
    refused("[[plugins.x]]", "x", true, "must be a table");
    refused("[[plugins]]\n", "x", true, "must be a table");
    refused("[plugins.x]\nenabled = 'yes'", "x", true, "must be true or false");
    refused("", "x]\nevil = 1\n[y", true, "no plugin's name");
    refused("", "X.y", true, "no plugin's name");
    refused("", "", true, "no plugin's name");
    let error = set_enabled("[plugins.x]\npassword = \"hunter2\nb = 1\n", "x", true).expect_err("malformed");
    assert!(error.contains("malformed") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_form_that_cannot_be_edited_is_refused_and_not_guessed_at() {
    for text in [
        "[plugins.x.config]\na = 1\n[plugins]\nx.path = 'p'\n",
        "plugins.x.config.a = nan\nplugins.x.enabled = false\n",
    ] {
        let error = set_enabled(text, "x", true).expect_err(text);
        assert!(error.contains("cannot be edited") && error.contains("by hand"), "{error}");
    }
}

#[test]
fn texts_are_set_and_taken_out() {
    let set = |text: &str, value: Option<&str>, expected: &str| {
        assert_eq!(set_text(text, "x", "path", value).as_deref(), Ok(expected), "{text}");
    };
    set(
        "[plugins.x]\nenabled = true # on\n",
        Some("/a"),
        "[plugins.x]\npath = \"/a\"\nenabled = true # on\n",
    );
    set("[plugins.x]\r\n  path = '/b'  # ours\r\n", Some("/a"), "[plugins.x]\r\n  path = \"/a\"  # ours\r\n");
    set("[plugins.x]\npath = '/a'\n", Some("/a"), "[plugins.x]\npath = '/a'\n");
    set("[plugins.x]\npath = '/a' # gone\nenabled = true\n", None, "[plugins.x]\nenabled = true\n");
    set("plugins.x.path = '/a'\nplugins.x.enabled = true\n", None, "plugins.x.enabled = true\n");
    set("[plugins.x]\nenabled = true\n", None, "[plugins.x]\nenabled = true\n");
    set(
        "plugins = { x = { enabled = true } }",
        Some("/a"),
        "plugins = { x = { path = \"/a\", enabled = true } }",
    );
    set("[plugins.x]\n", Some("/with \"quotes\""), "[plugins.x]\npath = '/with \"quotes\"'\n");
    let refused = |text: &str, value: Option<&str>, why: &str| {
        let error = set_text(text, "x", "path", value).expect_err(text);
        assert!(error.contains(why), "{error}");
    };
    refused("plugins = { x = { path = '/a', enabled = true } }", None, "take out plugins.x.path by hand");
    refused("[host]\n", Some("/a"), "`gantry enable x` adds one");
    refused("", None, "there is no section");
}
