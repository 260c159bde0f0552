//! The bindings of each namespace, read from the API server and kept for moments.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::binding::WarehouseBinding;
use crate::kubernetes::{ApiError, ApiServer};

/// For how long they are believed, so that a burst of pods costs one call.
const KEPT_FOR: Duration = Duration::from_secs(2);
/// Most namespaces that are kept; at one more, all are asked for again.
const NAMESPACES_MAX: usize = 1024;

/// What is known of a namespace.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its bindings.
    pub(super) bindings: Vec<WarehouseBinding>,
    /// What is wrong with those that cannot be read, by their names.
    pub(super) broken: Vec<String>,
}

/// A question to the API server that may be under way, and when it began.
type Asked = (Instant, Arc<OnceCell<Arc<Known>>>);

/// The bindings of all namespaces.
pub(super) struct Bindings {
    api: ApiServer,
    asked: Mutex<HashMap<String, Asked>>,
}

impl Bindings {
    pub(super) fn new(api: ApiServer) -> Self {
        Self { api, asked: Mutex::default() }
    }

    /// The bindings of a namespace, and whether they were read for this call. Those who ask at once wait for one answer.
    ///
    /// # Errors
    /// [`ApiError`]; the next call asks anew. Cancel safe.
    pub(super) async fn of(&self, namespace: &str) -> Result<(Arc<Known>, bool), ApiError> {
        let cell = self.cell(namespace, false);
        if let Some(known) = cell.get() {
            return Ok((Arc::clone(known), false));
        }
        Ok((self.filled(&cell, namespace).await?, true))
    }

    /// The same, read now.
    ///
    /// # Errors
    /// As for [`Bindings::of`].
    pub(super) async fn renewed(&self, namespace: &str) -> Result<Arc<Known>, ApiError> {
        let cell = self.cell(namespace, true);
        self.filled(&cell, namespace).await
    }

    fn cell(&self, namespace: &str, anew: bool) -> Arc<OnceCell<Arc<Known>>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((began, cell)) = asked.get(namespace)
            && began.elapsed() < KEPT_FOR
            && !(anew && cell.initialized())
        {
            return Arc::clone(cell);
        }
        if asked.len() >= NAMESPACES_MAX {
            asked.clear();
        }
        let cell = Arc::new(OnceCell::new());
        asked.insert(namespace.to_owned(), (Instant::now(), Arc::clone(&cell)));
        cell
    }

    async fn filled(&self, cell: &OnceCell<Arc<Known>>, namespace: &str) -> Result<Arc<Known>, ApiError> {
        let read = async || {
            let path = format!("/apis/tollhouse.dev/v1alpha1/namespaces/{namespace}/warehousebindings");
            let mut known = Known::default();
            for object in self.api.list(&path).await? {
                let name = object.pointer("/metadata/name").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
                match WarehouseBinding::parse(object) {
                    Ok(binding) => known.bindings.push(binding),
                    Err(why) => known.broken.push(format!("{name}: {why}")),
                }
            }
            Ok(Arc::new(known))
        };
        cell.get_or_try_init(read).await.cloned()
    }
}
