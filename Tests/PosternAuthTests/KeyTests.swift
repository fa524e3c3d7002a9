// Keys: private ones from PEM, public ones from DER and raw octets, key records, and the cache.

import Dispatch
import PosternMail
import Synchronization
import TestSupport
import Testing

@testable import PosternAuth

@Suite("private keys")
struct PrivateKeyTests {
    @Test("PKCS#1, PKCS#8 and what it writes itself are read; the record names the same key")
    func reads() throws {
        let key = try PrivateKey(pem: Array(KeyFixtures.rsa1024PKCS1.utf8))
        #expect(key.algorithm == .rsaSHA256)
        #expect(key.bits == 1024)
        #expect(try key.publicKeyRecord == "v=DKIM1; k=rsa; p=\(KeyFixtures.rsa1024SPKI)")
        let again = try PrivateKey(pem: key.pem)
        #expect(try again.publicKeyRecord == key.publicKeyRecord)
        #expect(try again.pem.starts(with: Array("-----BEGIN PRIVATE KEY-----\n".utf8)))
        // RFC 7468 §2: text before and after the block is for people.
        let commented = "my key\r\n" + KeyFixtures.rsa1024PKCS1.replacing("\n", with: "\r\n") + "\r\nthe end\r\n"
        #expect(try PrivateKey(pem: Array(commented.utf8)).publicKeyRecord == key.publicKeyRecord)
    }

    @Test("generated keys sign, and are read back from their PEM")
    func generates() throws {
        for key in [try TestKeys.rsa2048.get(), try TestKeys.ed25519.get()] {
            #expect(try PrivateKey(pem: key.pem).publicKeyRecord == key.publicKeyRecord)
            #expect(key.bits == (key.algorithm == .rsaSHA256 ? 2048 : 256))
        }
        #expect(throws: KeyError.tooSmall(bits: 1023)) { try PrivateKey.generate(.rsa(bits: 1023)) }
        #expect(throws: KeyError.tooLarge(bits: 4097)) { try PrivateKey.generate(.rsa(bits: 4097)) }
    }

    @Test("what cannot sign mail is refused, each with its reason")
    func refuses() throws {
        let rows: [(String, KeyError)] = [
            ("", .notPEM),
            ("hello", .notPEM),
            (String(repeating: "x", count: PrivateKey.maxPEMOctets + 1), .notPEM),
            (KeyFixtures.encrypted, .encrypted),
            (KeyFixtures.encryptedPKCS1, .encrypted),
            (KeyFixtures.publicKey, .publicKey),
            (KeyFixtures.rsa512, .tooSmall(bits: 512)),  // RFC 8301 §3.2
            (KeyFixtures.ec, .unsupported("a key of type EC")),
            (KeyFixtures.ed448, .unsupported("a key of type ED448")),
            ("-----BEGIN CERTIFICATE-----\n", .unsupported("a block of type \"CERTIFICATE\"")),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n", .unsupported("a block of type \"OPENSSH PRIVATE KEY\"")),
        ]
        for (pem, error) in rows {
            #expect(throws: error) { try PrivateKey(pem: Array(pem.utf8)) }
            #expect(!error.description.isEmpty)
        }
        for broken in [KeyFixtures.rsa1024PKCS1.replacing("MIIC", with: "MIIB"), "-----BEGIN PRIVATE KEY-----\n"] {
            do throws(KeyError) {
                _ = try PrivateKey(pem: Array(broken.utf8))
                Issue.record("read \(broken)")
            } catch {
                guard case .malformed = error else {
                    Issue.record("\(error)")
                    continue
                }
            }
        }
    }

    @Test("damaged PEM never traps")
    func mutations() throws {
        let samples = [KeyFixtures.rsa1024PKCS1, KeyFixtures.ec, KeyFixtures.encrypted].map { Array($0.utf8) }
        Mutations.of(samples, tokens: [Array("-----BEGIN ".utf8)], count: 300, seed: 7468) { pem in
            _ = try? PrivateKey(pem: pem)  // whether it is a key does not matter here
        }
    }
}

@Suite("public keys")
struct PublicKeyTests {
    private func material(_ base64: String) throws -> KeyMaterial {
        try KeyMaterial(rsaDER: try #require(Base64.decode(base64.utf8)))
    }

    @Test("SubjectPublicKeyInfo and bare RSAPublicKey are the same key (RFC 6376 erratum 3017)")
    func bothForms() throws {
        let key = try material(KeyFixtures.rsa1024SPKI)
        #expect(try material(KeyFixtures.rsa1024PublicKey) == key)
        #expect(key.bits == 1024)
        #expect(try material(KeyFixtures.rsa512SPKI).bits == 512)
    }

    @Test("what is no RSA key is refused")
    func refuses() throws {
        let good = try #require(Base64.decode(KeyFixtures.rsa1024PublicKey.utf8))
        let rows: [([UInt8], KeyMaterialError)] = [
            ([], .notDER),
            ([0x30], .notDER),
            ([0x30, 0x80], .notDER),  // X.690 §10.1: no indefinite length
            ([0x30, 0x85, 1, 0, 0, 0, 0], .notDER),
            ([0x30, 0x81, 0x06, 2, 1, 3, 2, 1, 3], .notDER),  // not the shortest form
            ([0x31] + good.dropFirst(), .notDER),
            (Array(good.dropLast()), .notDER),
            (good + [0], .trailingOctets),
            ([0x30, 6, 2, 1, 0x81, 2, 1, 3], .notDER),  // negative
            ([0x30, 6, 2, 1, 0, 2, 1, 3], .badNumbers),  // zero
            ([0x30, 7, 2, 2, 0x10, 0, 2, 1, 3], .badNumbers),  // even modulus
            ([0x30, 7, 2, 2, 0x10, 1, 2, 1, 1], .badNumbers),  // an exponent of one
            ([0x30, 7, 2, 2, 0x10, 1, 2, 1, 4], .badNumbers),  // an even exponent
            ([0x30, 8, 2, 1, 5, 2, 3, 1, 0, 1], .badNumbers),  // an exponent over the modulus
            ([0x30, 9, 2, 1, 5, 2, 1, 3, 2, 1, 1], .trailingOctets),
            (try #require(Base64.decode(KeyFixtures.ecSPKI.utf8)), .notRSA),
        ]
        for (der, error) in rows {
            #expect(throws: error, "\(der)") { try KeyMaterial(rsaDER: der) }
        }
        for count in [0, 31, 33, 44] {  // RFC 8463 §4: the 32 octets alone, no DER around them
            #expect(throws: KeyMaterialError.badEd25519Length) {
                try KeyMaterial(ed25519: [UInt8](repeating: 9, count: count))
            }
        }
    }

    @Test("damaged DER never traps, and OpenSSL takes or refuses what is left")
    func mutations() throws {
        let samples = try [KeyFixtures.rsa1024SPKI, KeyFixtures.rsa1024PublicKey, KeyFixtures.rsa512SPKI].map {
            try #require(Base64.decode($0.utf8))
        }
        var read = 0
        Mutations.of(samples, tokens: [[0x30, 0x82], [2, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]], count: 5000, seed: 8017) {
            der in
            guard let material = try? KeyMaterial(rsaDER: der) else { return }  // no key: as it should be
            read += 1
            guard let key = try? PublicKey(material) else { return }  // OpenSSL refuses what it likes
            let hash = [UInt8](repeating: 1, count: 32)
            let signature = [UInt8](repeating: 2, count: (material.bits + 7) / 8)
            let verified = try? key.verifies(signature, ofHash: hash)
            #expect(verified == false)
        }
        #expect(read > 100)
    }

    @Test("the cache hands out one key, and forgets the one unused for longest")
    func cache() throws {
        let cache = PublicKeyCache(capacity: 2)
        let materials = try (1...3).map { try KeyMaterial(ed25519: [UInt8](repeating: $0, count: 32)) }
        let first = try cache.key(materials[0])
        #expect(try cache.key(materials[0]) === first)
        let second = try cache.key(materials[1])
        #expect(try cache.key(materials[0]) === first)
        _ = try cache.key(materials[2])
        #expect(cache.count == 2)
        #expect(try cache.key(materials[0]) === first)
        #expect(try cache.key(materials[1]) !== second)
    }
}

@Suite("keys on many threads")
struct KeyThreadTests {
    @Test("one private key, one cache of public ones, eight threads")
    func threads() throws {
        let signingKeys = try [DKIMAlgorithm.rsaSHA256, .ed25519SHA256].map { try TestKeys.signing($0) }
        let zone = try TestKeys.zone()
        let cache = PublicKeyCache(capacity: 1)  // so that threads build and drop keys all the time
        let good = Mutex(0)
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            for round in 0..<10 {
                let message = TestMessage(TestMessage.plain.header, body: "\(thread) \(round)\r\n")
                guard let signed = try? sign(message, keys: signingKeys),  // counted as missing below
                    let findings = try? verify(signed, dns: zone, keys: cache)  // as above
                else { return }
                good.withLock { $0 += findings.count { $0.result == .pass } }
            }
        }
        #expect(good.withLock { $0 } == 160)
        #expect(cache.count == 1)
    }
}

@Suite("key records")
struct KeyRecordTests {
    @Test("RFC 6376 §3.6.1, tag by tag")
    func tags() throws {
        let plain = try DKIMKeyRecord(Array("p=AQID".utf8))
        #expect(plain.keyType == .rsa)
        #expect(plain.key == [1, 2, 3])
        #expect(plain.allowsSHA256 && plain.allowsEmail && !plain.isTesting && !plain.isStrict)

        let rows: [(String, @Sendable (DKIMKeyRecord) -> Bool)] = [
            ("v=DKIM1; p=AQID", { $0.keyType == .rsa }),
            (" v = DKIM1 ;\tp = AQ ID ; ", { $0.key == [1, 2, 3] }),
            ("k=rsa; p=AQID", { $0.keyType == .rsa }),
            ("k=ed25519; p=AQID", { $0.keyType == .ed25519 }),
            ("k=ed448; p=AQID", { $0.keyType == .unknown }),
            ("p=", { $0.key.isEmpty }),  // revoked
            ("h=sha1; p=AQID", { !$0.allowsSHA256 }),
            ("h=sha1:sha256; p=AQID", { $0.allowsSHA256 }),
            ("h= sha1 : sha256 ; p=AQID", { $0.allowsSHA256 }),
            ("h=sha256; p=AQID", { $0.allowsSHA256 }),
            ("h=; p=AQID", { !$0.allowsSHA256 }),
            ("s=*; p=AQID", { $0.allowsEmail }),
            ("s=tlsrpt:email; p=AQID", { $0.allowsEmail }),
            ("s=tlsrpt; p=AQID", { !$0.allowsEmail }),
            ("t=y; p=AQID", { $0.isTesting && !$0.isStrict }),
            ("t=y : s; p=AQID", { $0.isTesting && $0.isStrict }),
            ("t=s:x; p=AQID", { !$0.isTesting && $0.isStrict }),
            ("g=ann; n=not for you; x_1=; p=AQID", { $0.key == [1, 2, 3] }),  // ignored
            ("p=AQI\r\n D", { $0.key == [1, 2, 3] }),
        ]
        for (text, holds) in rows {
            let record = try DKIMKeyRecord(Array(text.utf8))
            #expect(holds(record), "\(text)")
        }
    }

    @Test("what is no key record")
    func refuses() {
        let rows = [
            "", ";", "v=spf1 -all", "v=DKIM2; p=AQID", "v=dkim1; p=AQID", "p=AQID; v=DKIM1", "v=DKIM1", "k=rsa",
            "v=DKIM1; p=AQ*D", "v=DKIM1; p=AQID; p=AQID", "v=DKIM1; p", "v=DKIM1; =x; p=AQID", "v=DKIM1;; p=AQID",
            "v=DKIM1\\; p=AQID", "p=AQID\u{0}", "p=A",
        ]
        for text in rows {
            #expect(throws: UnusableSignature.self, "\(text)") { try DKIMKeyRecord(Array(text.utf8)) }
        }
    }

    @Test("damaged records never trap")
    func mutations() {
        let samples = [
            "v=DKIM1; k=rsa; h=sha256; s=email; t=y:s; n=x; p=\(KeyFixtures.rsa1024SPKI)", "p=", "k=ed25519;p=AQ==",
        ]
        Mutations.of(
            samples.map { Array($0.utf8) }, tokens: [";", "=", ":", "p=", "v=DKIM1", "\r\n "].map { Array($0.utf8) },
            count: 20_000, seed: 6376
        ) { text in
            if let record = try? DKIMKeyRecord(text) {  // most are none, as they should be
                _ = try? KeyMaterial(rsaDER: record.key)
            }
        }
    }
}
