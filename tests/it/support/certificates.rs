//! Authorities of a test's own, and the certificates that they give out.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

/// Signs certificates, and is known to nobody until its own is handed out.
#[derive(Debug)]
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("authority {}", uuid::Uuid::new_v4()));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Leaves a certificate for this machine, and its key, in `cert.pem` and `key.pem` of `files`.
    pub(crate) fn certify(&self, files: &Path) {
        self.sign(
            &CertificateParams::new(["localhost".into(), "127.0.0.1".into()]).unwrap(),
            files,
        );
    }

    /// The same for another machine.
    pub(crate) fn certify_another(&self, files: &Path) {
        self.sign(&CertificateParams::new(["other.example".into()]).unwrap(), files);
    }

    /// The same for this machine, and over long ago.
    pub(crate) fn certify_the_past(&self, files: &Path) {
        let mut params = CertificateParams::new(["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(&params, files);
    }

    /// The same for this machine, as an authority, which `openssl req -x509` makes of a server.
    pub(crate) fn certify_an_authority(&self, files: &Path) {
        let mut params = CertificateParams::new(["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.sign(&params, files);
    }

    fn sign(&self, params: &CertificateParams, files: &Path) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        std::fs::write(files.join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(files.join("key.pem"), key.serialize_pem()).unwrap();
    }
}
