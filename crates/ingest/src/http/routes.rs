//! THE table of routes: method, path, what a key needs for it, who answers, and what the published document says.

use axum::{
    Extension, Router,
    handler::Handler,
    routing::{MethodFilter, on},
};
use serde_json::{Map, Value};
use usher_lifecycle::{
    Scope,
    scope::{
        Resource,
        Resource::{Contacts, Customers, Onboardings, Templates, Users},
    },
};

use super::{
    Api,
    auth::Needs,
    contacts, customers, events, health, keys, me, onboardings,
    openapi::{
        self,
        operation::{CUSTOMERS, ONBOARDINGS, Operation, PAGE, op},
        page,
    },
    reminders, snooze, templates, users, workspace,
};

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const PATCH: MethodFilter = MethodFilter::PATCH;
const DELETE: MethodFilter = MethodFilter::DELETE;

/// The routes and what is published of them.
pub(super) fn table() -> Table {
    let mut t = Table { router: Router::new(), paths: Map::new() };
    // Every role has these: `health::routes`.
    t.told(GET, "/livez", None, op("livez", "Whether the process answers").gives(200, "Liveness").keyless());
    let ready = op("readyz", "Whether requests can be answered").gives(200, "Readiness");
    t.told(GET, "/readyz", None, ready.may_give(503, "Readiness").keyless());
    let metrics = op("metrics", "What the process counts, for Prometheus").gives(200, "metrics");
    t.told(GET, "/metrics", None, metrics.keyless());
    let health = op("health", "That the service answers, and what time it is").gives(200, "Health");
    t.open(GET, "/api/v1/health", health, health::health);
    t.open(GET, "/api/v1/openapi.json", op("openapi", "This document").gives(200, "object"), openapi::show);
    t.open(GET, "/docs", op("docs", "This document as a page").gives(200, "page"), page::show);
    t.any(GET, "/api/v1/me", op("me", "What the key is").gives(200, "Me"), me::show);

    let (path, one) = ("/api/v1/customers", "/api/v1/customers/{id}");
    let list = op("list-customers", "List customers").lists("CustomerList", &[CUSTOMERS, PAGE]);
    t.read(Customers, path, list, customers::list);
    let create = op("create-customer", "Create a customer").creates("CustomerCreate", "Customer");
    t.write(Customers, POST, path, create, customers::create);
    t.read(
        Customers,
        one,
        op("get-customer", "Read a customer").gives(200, "Customer").tagged(),
        customers::show,
    );
    let change = op("update-customer", "Change a customer").changes("CustomerUpdate", "Customer");
    t.write(Customers, PATCH, one, change, customers::change);
    let delete = op("delete-customer", "Delete a customer, and with it its onboardings").deletes();
    t.write(Customers, DELETE, one, delete, customers::delete);
    let list =
        op("list-onboardings-of-customer", "List a customer's onboardings").lists("OnboardingList", &[PAGE]);
    t.read(Onboardings, "/api/v1/customers/{id}/onboardings", list, onboardings::list_of_customer);

    let (path, one) = ("/api/v1/customers/{id}/contacts", "/api/v1/contacts/{id}");
    t.read(
        Contacts,
        path,
        op("list-contacts", "List a customer's contacts").lists("ContactList", &[PAGE]),
        contacts::list,
    );
    let create = op("create-contact", "Add a contact to a customer").creates("ContactCreate", "Contact");
    t.write(Contacts, POST, path, create, contacts::create);
    t.read(Contacts, one, op("get-contact", "Read a contact").gives(200, "Contact").tagged(), contacts::show);
    let change = op("update-contact", "Change a contact").changes("ContactUpdate", "Contact");
    t.write(Contacts, PATCH, one, change, contacts::change);
    t.write(Contacts, DELETE, one, op("delete-contact", "Delete a contact").deletes(), contacts::delete);

    let (path, one) = ("/api/v1/onboardings", "/api/v1/onboardings/{id}");
    let list = op("list-onboardings", "List onboardings").lists("OnboardingList", &[ONBOARDINGS, PAGE]);
    // What a filter names may not be there.
    let list = list.refuses(404);
    t.read(Onboardings, path, list, onboardings::list);
    let create = op("create-onboarding", "Create an onboarding").creates("OnboardingCreate", "Onboarding");
    // The customer that the body names may not be there.
    t.write(Onboardings, POST, path, create.refuses(404), onboardings::create);
    let show = op("get-onboarding", "Read an onboarding").gives(200, "Onboarding").tagged();
    t.read(Onboardings, one, show, onboardings::show);
    let change = op("update-onboarding", "Change an onboarding").changes("OnboardingUpdate", "Onboarding");
    t.write(Onboardings, PATCH, one, change, onboardings::change);
    t.write(
        Onboardings,
        DELETE,
        one,
        op("delete-onboarding", "Delete an onboarding").deletes(),
        onboardings::delete,
    );
    let list = op("list-events", "The timeline of an onboarding, its reminders included")
        .lists("EventList", &[PAGE]);
    t.read(Onboardings, "/api/v1/onboardings/{id}/events", list, events::timeline);
    let path = "/api/v1/onboardings/{id}/reminders";
    let list = op("list-reminders", "What was sent to whom and why not, and what comes next");
    t.read(Onboardings, path, list.lists("ReminderList", &[PAGE]), reminders::ledger);
    let remind = op("remind-now", "Remind now; the rhythm is not disturbed").takes("RemindNow").optional();
    let remind = remind.gives(202, "ReminderRequest").repeatable().matched();
    t.write(Onboardings, POST, path, remind, reminders::remind);
    let path = "/api/v1/onboardings/{id}/snooze";
    let begin = op("snooze", "Send no reminders for a while").takes("Snooze").gives(200, "Onboarding");
    t.write(Onboardings, POST, path, begin.repeatable().matched().tagged(), snooze::begin);
    let end =
        op("end-snooze", "Send reminders again").gives(200, "Onboarding").tagged().matched().refuses(409);
    t.write(Onboardings, DELETE, path, end, snooze::end);

    let (path, one) = ("/api/v1/users", "/api/v1/users/{id}");
    t.read(Users, path, op("list-users", "List the team").lists("UserList", &[PAGE]), users::list);
    let create = op("create-user", "Add a member of the team").creates("UserCreate", "User");
    t.write(Users, POST, path, create, users::create);
    t.read(Users, one, op("get-user", "Read a user").gives(200, "User").tagged(), users::show);
    let change = op("update-user", "Change a user").changes("UserUpdate", "User");
    t.write(Users, PATCH, one, change, users::change);
    t.write(Users, DELETE, one, op("delete-user", "Delete a user").deletes(), users::delete);

    let (path, one) = ("/api/v1/templates", "/api/v1/templates/{id}");
    t.read(
        Templates,
        path,
        op("list-templates", "List templates").lists("TemplateList", &[PAGE]),
        templates::list,
    );
    let create = op("create-template", "Create a template").creates("TemplateCreate", "Template");
    t.write(Templates, POST, path, create, templates::create);
    t.read(
        Templates,
        one,
        op("get-template", "Read a template").gives(200, "Template").tagged(),
        templates::show,
    );
    let change = op("update-template", "Change a template").changes("TemplateUpdate", "Template");
    t.write(Templates, PATCH, one, change, templates::change);
    t.write(Templates, DELETE, one, op("delete-template", "Delete a template").deletes(), templates::delete);

    let path = "/api/v1/workspace";
    let show = op("get-workspace", "Read the workspace of the key").gives(200, "Workspace").tagged();
    t.admin(GET, path, show, workspace::show);
    let change = op("update-workspace", "Change the workspace; a test key cannot");
    t.admin(PATCH, path, change.changes("WorkspaceUpdate", "Workspace"), workspace::change);

    let path = "/api/v1/api_keys";
    t.admin(GET, path, op("list-api-keys", "List the keys").lists("ApiKeyList", &[PAGE]), keys::list);
    let create = op("create-api-key", "Make a key; its secret is shown this once").takes("ApiKeyCreate");
    t.admin(POST, path, create.gives(201, "NewApiKey"), keys::create);
    let revoke = op("revoke-api-key", "Revoke a key, for good and at once; none revokes itself");
    t.admin(DELETE, "/api/v1/api_keys/{id}", revoke.gives(200, "ApiKey").refuses(409), keys::revoke);
    let rotate = op("rotate-api-key", "Make a successor of a key; its secret is shown this once");
    let rotate = rotate.takes("ApiKeyRotate").optional().gives(201, "NewApiKey");
    t.admin(POST, "/api/v1/api_keys/{id}/rotate", rotate, keys::rotate);
    t
}

/// Routes, and the `paths` of the document.
pub(super) struct Table {
    pub(super) router: Router<Api>,
    pub(super) paths: Map<String, Value>,
}

impl Table {
    /// Without a key.
    fn open<H: Handler<T, Api>, T: 'static>(
        &mut self,
        method: MethodFilter,
        path: &str,
        op: Operation,
        handler: H,
    ) {
        self.add(method, path, None, op.keyless(), handler);
    }

    /// With any valid key.
    fn any<H: Handler<T, Api>, T: 'static>(
        &mut self,
        method: MethodFilter,
        path: &str,
        op: Operation,
        handler: H,
    ) {
        self.add(method, path, None, op, handler);
    }

    fn read<H: Handler<T, Api>, T: 'static>(
        &mut self,
        kind: Resource,
        path: &str,
        op: Operation,
        handler: H,
    ) {
        self.add(GET, path, Some(Scope::Read(Some(kind))), op, handler);
    }

    fn write<H: Handler<T, Api>, T: 'static>(
        &mut self,
        kind: Resource,
        method: MethodFilter,
        path: &str,
        op: Operation,
        handler: H,
    ) {
        self.add(method, path, Some(Scope::Write(Some(kind))), op, handler);
    }

    fn admin<H: Handler<T, Api>, T: 'static>(
        &mut self,
        method: MethodFilter,
        path: &str,
        op: Operation,
        handler: H,
    ) {
        self.add(method, path, Some(Scope::Admin), op, handler);
    }

    fn add<H: Handler<T, Api>, T: 'static>(
        &mut self,
        method: MethodFilter,
        path: &str,
        scope: Option<Scope>,
        op: Operation,
        handler: H,
    ) {
        let route = on(method, handler);
        let route = if let Some(scope) = scope { route.route_layer(Extension(Needs(scope))) } else { route };
        self.router = std::mem::take(&mut self.router).route(path, route);
        self.told(method, path, scope, op);
    }

    /// Only in the document.
    fn told(&mut self, method: MethodFilter, path: &str, scope: Option<Scope>, op: Operation) {
        let name = match method {
            POST => "post",
            PATCH => "patch",
            DELETE => "delete",
            _ => "get",
        };
        let item = self.paths.entry(path).or_insert_with(|| Value::Object(Map::new()));
        item[name] = op.published(path, scope);
    }
}
