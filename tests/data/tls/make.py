"""Makes the certificates, keys and signatures of this folder; run it here to have new ones. Needs python3-cryptography."""
from datetime import datetime
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

RAW = (serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())


def certificate(name, key, begin=2026, end=2056, names=("shop.example", "*.shop.example"), common="old.example"):
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Outpost tests"), x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(0x1234567890ABCDEF).not_valid_before(datetime(begin, 1, 1)).not_valid_after(datetime(end, 1, 1))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    open(name + ".der", "wb").write(builder.sign(key, digest).public_bytes(serialization.Encoding.DER))


p256 = ec.generate_private_key(ec.SECP256R1())
certificate("p256", p256)
certificate("expired", p256, begin=2020, end=2021)
certificate("unnamed", p256, names=())
open("p256.key", "wb").write(p256.private_numbers().private_value.to_bytes(32, "big"))
certificate("p384", ec.generate_private_key(ec.SECP384R1()))
edwards = ed25519.Ed25519PrivateKey.generate()
certificate("ed25519", edwards)
open("ed25519.key", "wb").write(edwards.private_bytes(*RAW))
for bits in (2048, 3072, 4096):
    key = rsa.generate_private_key(65537, bits)
    certificate(f"rsa{bits}", key)
    salted = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    open(f"rsa{bits}.sig", "wb").write(key.sign(b"outpost", salted, hashes.SHA256()))
