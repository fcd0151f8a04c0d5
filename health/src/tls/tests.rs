use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::*;

/// A folder of files that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lbd-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn certificate() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["client.example".into()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

#[test]
fn blocks() {
    let folder = Folder::new("blocks");
    let (certificate, key) = certificate();
    let (other, _) = self::certificate();
    let certificate = folder.file("certificate", &certificate);
    let key = folder.file("key", &key);
    let other = folder.file("other", &other);
    let empty = folder.file("empty", "nothing\n");
    let broken = folder.file("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let locked = folder.file("locked", include_str!("../pem/keys/sec1-aes128.pem"));
    let missing = folder.0.join("missing");
    let files = |ca: Option<&PathBuf>, certificate: Option<&PathBuf>, key: Option<&PathBuf>| TlsFiles {
        password: None,
        ca: ca.cloned(),
        certificate: certificate.cloned(),
        key: key.cloned(),
    };
    for (name, files, want) in [
        ("empty block", files(None, None, None), None),
        ("all", files(Some(&certificate), Some(&certificate), Some(&key)), None),
        ("a certificate alone is not shown", files(None, Some(&certificate), None), None),
        ("no file", files(Some(&missing), None, None), Some(("ca", &missing, "no such file or directory"))),
        (
            "a folder",
            files(Some(&folder.0), None, None),
            Some(("ca", &folder.0, "no file, or one larger than 16 MiB")),
        ),
        (
            "no certificate",
            files(None, Some(&empty), None),
            Some(("certificate", &empty, "has no certificate in PEM")),
        ),
        (
            "a broken one",
            files(None, Some(&broken), None),
            Some(("certificate", &broken, "has a certificate that cannot be decoded")),
        ),
        ("no key", files(None, None, Some(&empty)), Some(("key", &empty, "has no key in PEM"))),
        ("no pass phrase", files(None, None, Some(&locked)), Some(("key", &locked, "the key is encrypted"))),
        (
            "wrong pass phrase",
            TlsFiles { password: Some("wrong".into()), ..files(None, None, Some(&locked)) },
            Some(("key", &locked, "the key does not open with `password`")),
        ),
    ] {
        let got = TlsSettings::load(&files, true);
        match want {
            None if files.ca.is_some() => assert!(got.expect(name).verifying.is_some(), "{name}"),
            // Without `ca` it depends on this system.
            None => assert!(TlsSettings::load(&files, false).expect(name).verifying.is_none(), "{name}"),
            Some((keyword, file, problem)) => {
                let error = got.expect_err(name);
                assert_eq!((error.keyword, &error.file, &*error.problem), (keyword, file, problem), "{name}");
                assert!(!error.remedy.is_empty(), "{name}");
            }
        }
    }
    let error = TlsSettings::load(&files(None, Some(&other), Some(&key)), false).expect_err("another key");
    assert!(error.problem.starts_with("does not go with `certificate`: "), "{error}");
    let text = format!("`key` of `SSL`: {}: does not go with", key.display());
    assert!(error.to_string().starts_with(&text), "{error}");
}
