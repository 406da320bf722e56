use std::path::PathBuf;

use super::address::Address;
use super::config::Fault;

/// The files that TLS goes by, each in PEM, a regular file of at most 1 MiB. Whether there is TLS says the URL alone:
/// `rediss://` or `valkeys://`.
///
/// The server's certificate is always verified, and so is that it names the host of the URL. The files are read again
/// at each attempt to connect: what replaces them counts from the next connection on, without a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The certificates of the authorities that the server's certificate may come from, and of no others. Default
    /// none, which means the public ones (Mozilla's list, as of this build).
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, followed by those between it and its authority, for a server that asks for one. Default
    /// none.
    pub cert_file: Option<PathBuf>,
    /// The private key of `cert_file`, not encrypted. Default none.
    pub key_file: Option<PathBuf>,
}

impl Tls {
    /// Every fault of the files beside `url`.
    pub(super) fn validate(&self, url: &str) -> Vec<Fault> {
        let fault = |key, given: String, wanted: &str| Fault { key, given, wanted: wanted.into() };
        if !cfg!(feature = "tls") {
            let wanted = "no value: TLS needs the feature `tls`, which this build does not have";
            return self.given().map(|key| fault(key, "a file".into(), wanted)).collect();
        }
        let mut faults = Vec::new();
        let alone = |key, other| {
            fault(key, "a file".into(), &format!("{other} beside it: they go together"))
        };
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => faults.push(alone("tls.cert_file", "tls.key_file")),
            (None, Some(_)) => faults.push(alone("tls.key_file", "tls.cert_file")),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let (Some(key), Ok(address)) = (self.given().next(), Address::parse(url))
            && !address.is_tls()
        {
            let wanted = format!(
                "rediss://host:port, since {key} is set: without the s nothing is encrypted"
            );
            faults.push(fault("url", address.to_string(), &wanted));
        }
        faults
    }

    fn given(&self) -> impl Iterator<Item = &'static str> {
        let Self { ca_file, cert_file, key_file } = self;
        let files =
            [("tls.ca_file", ca_file), ("tls.cert_file", cert_file), ("tls.key_file", key_file)];
        files.into_iter().filter_map(|(key, file)| file.as_ref().map(|_| key))
    }
}

#[cfg(feature = "tls")]
pub(super) use rustls_side::{cause_of, client};

#[cfg(feature = "tls")]
mod rustls_side {
    use std::error::Error as StdError;
    use std::path::Path;

    use ::redis::{Client, ClientTlsConfig, ConnectionInfo, RedisError, TlsCertificates};
    use rustls::crypto::{CryptoProvider, ring};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::Tls;
    use crate::redis::cause::Cause;
    use crate::redis::error::Error;
    use crate::redis::file;

    /// A client whose connections verify and show the certificates that the files hold now.
    pub(in crate::redis) async fn client(
        info: ConnectionInfo,
        tls: &Tls,
    ) -> Result<Client, RedisError> {
        provide();
        let certificates = tls.read().await.map_err(Error::unavailable)?;
        // The certificates and the key have been looked at: what is left is an authority that is none.
        Client::build_with_tls(info, certificates)
            .map_err(|_| Error::unavailable(Cause::CaFile).into())
    }

    /// The redis crate takes the process's cryptography, and a process where two crates bring some has none unless
    /// somebody chooses. A choice that was made stays.
    fn provide() {
        if CryptoProvider::get_default().is_none() {
            ring::default_provider().install_default().ok(); // Somebody else was faster.
        }
    }

    impl Tls {
        async fn read(&self) -> Result<TlsCertificates, Cause> {
            let root_cert = match &self.ca_file {
                Some(path) => Some(certificates(path).await.ok_or(Cause::CaFile)?),
                None => None,
            };
            let client_tls = match (&self.cert_file, &self.key_file) {
                (Some(cert), Some(key)) => Some(ClientTlsConfig {
                    client_cert: certificates(cert).await.ok_or(Cause::CertFile)?,
                    client_key: private_key(key).await.ok_or(Cause::KeyFile)?,
                }),
                _ => None,
            };
            Ok(TlsCertificates { client_tls, root_cert })
        }
    }

    async fn certificates(path: &Path) -> Option<Vec<u8>> {
        let pem = file::read(path, LARGEST).await?;
        let mut found = CertificateDer::pem_slice_iter(&pem).peekable();
        (found.peek().is_some() && found.all(|certificate| certificate.is_ok())).then_some(pem)
    }

    async fn private_key(path: &Path) -> Option<Vec<u8>> {
        let pem = file::read(path, LARGEST).await?;
        PrivateKeyDer::from_pem_slice(&pem).is_ok().then_some(pem)
    }

    /// The root of what rustls found wrong.
    pub(in crate::redis) fn cause_of(error: &(dyn StdError + 'static)) -> Option<Cause> {
        Some(match error.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidMessage(_) => Cause::NotTls,
            _ => Cause::Tls,
        })
    }

    const LARGEST: u64 = 1 << 20;
}
