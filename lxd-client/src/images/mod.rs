//! Images as files: the fingerprint of what is uploaded in `fingerprint`, what is downloaded in `export`, the
//! form in which two files go either way in `form`. That they are sent is left to `call`.

pub(crate) mod export;
pub(crate) mod fingerprint;
pub(crate) mod form;

pub use self::export::{ExportImage, ExportedImage, ImageFile, ImageFileKind};
