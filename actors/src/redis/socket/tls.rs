#[cfg(feature = "tls")]
pub(super) use rustls_side::{Encryption, file_being_read};
#[cfg(not(feature = "tls"))]
use std::future::{Ready, ready};

#[cfg(not(feature = "tls"))]
use tokio::net::TcpStream;

#[cfg(not(feature = "tls"))]
use crate::redis::config::Tls;
#[cfg(not(feature = "tls"))]
use crate::redis::status::Cause;

#[cfg(not(feature = "tls"))]
pub(crate) enum Encryption {}

#[cfg(not(feature = "tls"))]
impl Encryption {
    pub(super) fn to(_: &str, _: &Tls) -> Ready<Result<Self, Cause>> {
        ready(Err(Cause::Tls))
    }

    pub(super) fn over(&self, _: TcpStream) -> Ready<Result<TcpStream, Cause>> {
        match *self {}
    }
}

#[cfg(not(feature = "tls"))]
pub(super) fn file_being_read(_: &Tls) -> Option<Cause> {
    None
}

#[cfg(feature = "tls")]
mod rustls_side {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use crate::redis::config::Tls;
    use crate::redis::socket::file;
    use crate::redis::status::{Cause, ConfigFile};

    /// How to encrypt connections to a host.
    pub(crate) struct Encryption {
        connector: TlsConnector,
        name: ServerName<'static>,
    }

    impl Encryption {
        /// For `host`, with the certificates that the files hold now.
        pub(crate) async fn to(host: &str, tls: &Tls) -> Result<Self, Cause> {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| Cause::Tls)?;
            let connector = TlsConnector::from(Arc::new(client_config(tls).await?));
            Ok(Self { connector, name })
        }

        /// Shakes hands over `stream`.
        pub(crate) async fn over(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Cause> {
            self.connector.connect(self.name.clone(), stream).await.map_err(|error| {
                // `Cause::Tls` names several things to check; rustls says which, and nothing secret.
                tracing::debug!(host = %self.name.to_str(), %error, "tls failed");
                match Cause::of_io(&error) {
                    Cause::Closed => Cause::HandshakeClosed,
                    cause => cause,
                }
            })
        }
    }

    /// The cause that names the first of the files that is being read.
    pub(crate) fn file_being_read(tls: &Tls) -> Option<Cause> {
        let files = [
            (&tls.ca_file, ConfigFile::Ca),
            (&tls.cert_file, ConfigFile::Cert),
            (&tls.key_file, ConfigFile::Key),
        ];
        let is_read = |path: &Option<PathBuf>| {
            path.as_deref().is_some_and(|path| file::is_being_read(path, LARGEST))
        };
        files.into_iter().find(|(path, _)| is_read(path)).map(|(_, file)| Cause::FileTimeout(file))
    }

    async fn client_config(tls: &Tls) -> Result<ClientConfig, Cause> {
        let mut roots = RootCertStore::empty();
        match &tls.ca_file {
            Some(path) => {
                for certificate in certificates(ConfigFile::Ca, path).await? {
                    roots.add(certificate).map_err(|_| Cause::CaFile)?;
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        // The default provider of the process comes first. Otherwise ours is named, since rustls has no default if two
        // crates bring a provider.
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(ring::default_provider()));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| Cause::Tls)?
            .with_root_certificates(roots);
        let (Some(cert), Some(key)) = (&tls.cert_file, &tls.key_file) else {
            return Ok(config.with_no_client_auth());
        };
        let cert = certificates(ConfigFile::Cert, cert).await?;
        let key = private_key(key).await?;
        config.with_client_auth_cert(cert, key).map_err(|_| Cause::KeyFile)
    }

    async fn certificates(
        file: ConfigFile,
        path: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, Cause> {
        let pem = file::read(file, path, LARGEST).await?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        found.ok().filter(|found| !found.is_empty()).ok_or(file.unsuitable())
    }

    async fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Cause> {
        let pem = file::read(ConfigFile::Key, path, LARGEST).await?;
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| Cause::KeyFile)
    }

    const LARGEST: u64 = 1 << 20;
}
