use std::fs;

use usher_lifecycle::reminder::Kind;
use usher_scheduler::message::{Message, TemplateError, Templates};

use crate::{acme, message};

fn with(name: &str, text: &str) -> Result<Templates, TemplateError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::write(folder.path().join(".gitignore"), "").unwrap();
    Templates::with_overrides(folder.path())
}

#[test]
fn a_file_replaces_the_template_of_its_name_and_no_other() {
    let templates = with("email/subject.txt", "{{ count }}: {{ items[0].customer }}\n").unwrap();
    let email = templates.email(&message(vec![acme()])).unwrap();
    assert_eq!(email.subject, "1: Acme");
    assert!(email.text.contains("This onboarding needs you"));
}

#[test]
fn a_file_that_replaces_nothing_is_an_error() {
    assert!(matches!(with("email/subjct.txt", "x"), Err(TemplateError::Unknown { .. })));
    assert!(matches!(with("sms/body.txt", "x"), Err(TemplateError::Unknown { .. })));
}

#[test]
fn unknown_variables_are_an_error_at_start_even_where_nobody_looks() {
    assert!(matches!(with("email/subject.txt", "{{ costumer }}"), Err(TemplateError::Variable { .. })));
    let hidden = "{% if count > 5000 %}{{ costumer }}{% endif %}";
    assert!(matches!(with("email/body.txt", hidden), Err(TemplateError::Variable { .. })));
    assert!(matches!(with("slack/item.txt", "{{ item.costumer }}"), Err(TemplateError::Sample(_))));
    let customer = "{{ items[0].notes }}";
    assert!(matches!(with("email/customer.txt", customer), Err(TemplateError::Sample(_))), "internal");
}

#[test]
fn a_customer_s_templates_are_replaced_like_any_and_know_nothing_internal() {
    let message = Message { kind: Kind::Customer, ..message(vec![acme()]) };
    let templates = with("email/customer_subject.txt", "{{ workspace }}: {{ items[0].phase }}").unwrap();
    assert_eq!(templates.email(&message).unwrap().subject, "Northwind: design review");
    let templates = with("email/customer.html", "<p>{{ items[0].customer }}{{ name }}</p>").unwrap();
    assert_eq!(templates.email(&message).unwrap().html, "<p>AcmeAda Lovelace</p>");
    for name in ["email/customer_subject.txt", "email/customer.txt", "email/customer.html"] {
        for top in ["late_count", "kind", "costumer"] {
            let hidden = format!("{{% if count > 5000 %}}{{{{ {top} }}}}{{% endif %}}");
            assert!(matches!(with(name, &hidden), Err(TemplateError::Variable { .. })), "{name}: {top}");
        }
        for field in
            ["notes", "note", "link", "others", "days_late", "state", "last_change", "display_id", "lag"]
        {
            let text = format!("{{{{ items[0].{field} }}}}");
            assert!(matches!(with(name, &text), Err(TemplateError::Sample(_))), "{name}: {field}");
        }
    }
}

#[test]
fn a_fault_of_syntax_is_named() {
    let error = with("slack/text.txt", "{% if %}").unwrap_err();
    assert!(matches!(error, TemplateError::Syntax { name: "slack/text.txt", .. }), "{error}");
}

#[test]
fn an_endless_template_is_stopped() {
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    assert!(matches!(with("email/body.txt", endless), Err(TemplateError::Sample(_))));
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let gone = tempfile::tempdir().unwrap().path().join("gone");
    assert!(matches!(Templates::with_overrides(&gone), Err(TemplateError::Read { .. })));
}
