//! PEM files and keys behind a pass phrase.
//!
//! Here: sections of a file (RFC 7468), PKCS #8 encryption, OpenSSL's older one (RFC 1421 headers).
//! Not here: reading files and what they are for (`tls`).

use aes::{Aes128, Aes192, Aes256};
use base64ct::{Base64, Encoding};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, KeyIvInit};
use des::{Des, TdesEde3};
use md5::{Digest, Md5};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// One `-----BEGIN …-----` part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it says it is: `CERTIFICATE`.
    pub label: String,
    /// `DEK-Info: …` of an encrypted key.
    pub encryption: Option<String>,
    /// What it holds.
    pub der: Vec<u8>,
}

/// Why a key cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// No key in the file.
    None,
    /// It is encrypted and there is no pass phrase.
    NoPassword,
    /// It does not open with the pass phrase.
    WrongPassword,
    /// Encrypted in a way that nobody should use any more, or that nobody knows.
    Encryption,
}

/// The sections of a PEM file; text around them is skipped, a broken section ends the reading.
///
/// # Errors
/// What is wrong, in words.
pub fn sections(text: &[u8]) -> Result<Vec<Section>, String> {
    let text = String::from_utf8_lossy(text);
    let mut sections = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let end = format!("-----END {label}-----");
        let (mut base64, mut encryption, mut closed) = (String::new(), None, false);
        for line in lines.by_ref() {
            if line == end {
                closed = true;
                break;
            }
            match line.split_once(':') {
                Some(("DEK-Info", info)) => encryption = Some(info.trim().to_owned()),
                Some(_) => {}
                None => base64.extend(line.split_whitespace()),
            }
        }
        if !closed {
            return Err(format!("`{label}` has no end"));
        }
        let der = Base64::decode_vec(&base64).map_err(|_| format!("`{label}` is no base64"))?;
        sections.push(Section { label: label.to_owned(), encryption, der });
    }
    Ok(sections)
}

/// The certificates among sections.
pub fn certificates(sections: &[Section]) -> Vec<CertificateDer<'static>> {
    let is = |label: &str| matches!(label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE");
    sections.iter().filter(|one| is(&one.label)).map(|one| one.der.clone().into()).collect()
}

/// The first key among sections, decrypted.
///
/// # Errors
/// [`KeyError`]
pub fn key(sections: &[Section], password: Option<&str>) -> Result<PrivateKeyDer<'static>, KeyError> {
    let is_key = |one: &&Section| one.label.ends_with("PRIVATE KEY");
    let section = sections.iter().find(is_key).ok_or(KeyError::None)?;
    let der = match (&section.encryption, section.label.as_str()) {
        (None, "ENCRYPTED PRIVATE KEY") => {
            return Ok(PrivateKeyDer::Pkcs8(pkcs8(&section.der, password)?.into()));
        }
        (None, _) => section.der.clone(),
        (Some(info), _) => older(info, &section.der, password)?,
    };
    Ok(match section.label.as_str() {
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(der.into()),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(der.into()),
        _ => PrivateKeyDer::Pkcs8(der.into()),
    })
}

/// PKCS #8 (RFC 5958 §3) with PBES2 (RFC 8018 §6.2).
fn pkcs8(der: &[u8], password: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let encrypted = pkcs8::EncryptedPrivateKeyInfo::try_from(der).map_err(|_| KeyError::Encryption)?;
    if encrypted.encryption_algorithm.pbes2().is_none() {
        return Err(KeyError::Encryption);
    }
    match encrypted.decrypt(password.ok_or(KeyError::NoPassword)?) {
        Ok(document) => Ok(document.as_bytes().to_vec()),
        Err(pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. })) => {
            Err(KeyError::Encryption)
        }
        Err(_) => Err(KeyError::WrongPassword),
    }
}

/// `DEK-Info: CIPHER,IV` as OpenSSL writes it for `RSA PRIVATE KEY` and `EC PRIVATE KEY`.
fn older(info: &str, der: &[u8], password: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let (cipher, iv) = info.split_once(',').ok_or(KeyError::Encryption)?;
    let iv = hex(iv.trim()).ok_or(KeyError::Encryption)?;
    let password = password.ok_or(KeyError::NoPassword)?.as_bytes();
    let opened = match cipher.trim() {
        "AES-128-CBC" => decrypt::<cbc::Decryptor<Aes128>>(16, password, &iv, der),
        "AES-192-CBC" => decrypt::<cbc::Decryptor<Aes192>>(24, password, &iv, der),
        "AES-256-CBC" => decrypt::<cbc::Decryptor<Aes256>>(32, password, &iv, der),
        "DES-EDE3-CBC" => decrypt::<cbc::Decryptor<TdesEde3>>(24, password, &iv, der),
        "DES-CBC" => decrypt::<cbc::Decryptor<Des>>(8, password, &iv, der),
        _ => return Err(KeyError::Encryption),
    };
    // One wrong pass phrase of 256 leaves padding that looks right: a key is a SEQUENCE.
    opened.filter(|der| der.first() == Some(&0x30)).ok_or(KeyError::WrongPassword)
}

fn decrypt<C: KeyIvInit + BlockDecryptMut>(
    key_length: usize,
    password: &[u8],
    iv: &[u8],
    der: &[u8],
) -> Option<Vec<u8>> {
    // OpenSSL's EVP_BytesToKey: MD5 once a block, the salt is the start of the vector.
    let salt = iv.get(..8)?;
    let mut key = Vec::new();
    let mut block: Vec<u8> = Vec::new();
    while key.len() < key_length {
        let digest = Md5::new().chain_update(&block).chain_update(password).chain_update(salt).finalize();
        block = digest.to_vec();
        key.extend_from_slice(&block);
    }
    key.truncate(key_length);
    C::new_from_slices(&key, iv).ok()?.decrypt_padded_vec_mut::<Pkcs7>(der).ok()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

/// What holds for any octets: sections hold no more than the text, and all are found again behind other
/// text. For property tests and fuzzing.
pub fn law(text: &[u8]) -> bool {
    let found = sections(text);
    let behind = sections(&[b"other text\n", text].concat());
    let held: usize = found.iter().flatten().map(|one| one.der.len()).sum();
    held <= text.len() && found == behind
}

#[cfg(test)]
#[path = "pem/tests.rs"]
mod tests;
