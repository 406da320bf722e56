use std::path::PathBuf;

#[cfg(not(feature = "tls"))]
use tokio::net::TcpStream;

#[cfg(not(feature = "tls"))]
use super::stream::Stream;
use crate::redis::address::Address;
use crate::redis::config::Fault;
#[cfg(not(feature = "tls"))]
use crate::redis::status::Cause;

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
    pub(crate) fn validate(&self, url: &str) -> Vec<Fault> {
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
pub(crate) use rustls_side::{cause_of, encrypt};

#[cfg(not(feature = "tls"))]
#[expect(clippy::unused_async, reason = "the other one shakes hands")]
pub(crate) async fn encrypt(_: TcpStream, _: &str, _: &Tls) -> Result<Stream, Cause> {
    Err(Cause::Tls)
}

#[cfg(feature = "tls")]
mod rustls_side {
    use std::error::Error as StdError;
    use std::path::Path;
    use std::sync::Arc;

    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

    use super::Tls;
    use crate::redis::socket::{file, stream::Stream};
    use crate::redis::status::Cause;

    /// A session with `host` over `stream`, by the certificates that the files hold now.
    pub(crate) async fn encrypt(stream: TcpStream, host: &str, tls: &Tls) -> Result<Stream, Cause> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Cause::Dns)?;
        let connector = TlsConnector::from(Arc::new(tls.read().await?));
        let session = connector.connect(name, stream).await.map_err(|error| {
            // Which of all that a cause names to check: rustls tells what a certificate says, and nothing secret.
            tracing::debug!(host, %error, "tls failed");
            Cause::of_io(&error)
        });
        Ok(Box::new(session?))
    }

    impl Tls {
        async fn read(&self) -> Result<ClientConfig, Cause> {
            let mut roots = RootCertStore::empty();
            match &self.ca_file {
                Some(path) => {
                    for certificate in certificates(path).await.ok_or(Cause::CaFile)? {
                        roots.add(certificate).map_err(|_| Cause::CaFile)?;
                    }
                }
                None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            }
            // The process's choice counts where there is one; ours is by name, since a process in which two crates
            // bring some has none.
            let provider = CryptoProvider::get_default().cloned();
            let provider = provider.unwrap_or_else(|| Arc::new(ring::default_provider()));
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|_| Cause::Tls)?
                .with_root_certificates(roots);
            let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) else {
                return Ok(config.with_no_client_auth());
            };
            let cert = certificates(cert).await.ok_or(Cause::CertFile)?;
            let key = private_key(key).await.ok_or(Cause::KeyFile)?;
            config.with_client_auth_cert(cert, key).map_err(|_| Cause::KeyFile)
        }
    }

    async fn certificates(path: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let pem = file::read(path, LARGEST).await?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        found.ok().filter(|found| !found.is_empty())
    }

    async fn private_key(path: &Path) -> Option<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(&file::read(path, LARGEST).await?).ok()
    }

    /// The root of what rustls found wrong.
    pub(crate) fn cause_of(error: &(dyn StdError + 'static)) -> Option<Cause> {
        Some(match error.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidMessage(_) => Cause::NotTls,
            _ => Cause::Tls,
        })
    }

    const LARGEST: u64 = 1 << 20;
}
