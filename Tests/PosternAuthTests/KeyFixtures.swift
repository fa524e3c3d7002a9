// Keys made by `openssl` for these tests alone; never used for mail.

enum KeyFixtures {
    static let rsa1024PKCS1 = """
        -----BEGIN RSA PRIVATE KEY-----
        MIICXQIBAAKBgQDtldHl0aoJwjk7Qol3QVio3Iq5XUGwsW2d91Ufk4JB5bxS+gdH
        auJN4hUqkmoPilCLnU0cMhx6yvY8VO+oI1lK4TFoSBnSwGcaYEzOXT8xZXMnL9/Q
        7sCBQ74pBy01urwJst0ABmmF9Ov8gatS7o/uV7S/T2GBcYfrrLZh5ZdykQIDAQAB
        AoGANXUSZ12Hnu5+piDQgW7IniYRaKfdEf66JWLzWkl8c4tXlmv/m0gnZ1LJZGzR
        RHHgsalRIlj8I3zrbqPF0NUzT8DjmbmJXeaMilvtbZoIb6E1SNnmme4Os3BFq0fq
        1I2wOSwaXm0HIKsc5SgBruIMOcL6dbR1Asft23FxSZ+ZjGECQQD4Q+2kygm+A2h4
        5M/84xrzxCTfYdT/aemX2Fahek0Fj6XSBGEmRDiUTgxWtSeObBeKNj+EJJuvq688
        nCzF3z6NAkEA9Py2BrwFbQLFpveb6oy88FS7kQxp66WXlcu4HtSvRQt+gP0afmm+
        QIrEcCWDiZzYllpXrMZfTNaoJ8zLlyzVFQJBAM8J5x8sFl/N+8wGFaWxx4JOqulX
        bwfpzZKCKgzUL3NZzlGMsW/2KLEVPZj5zhkp75+liearmOIxbRxAqd4CROkCQGk4
        sSWrU9lCO4o/ByRyViQTAIyH/GZNtRGNcgMr7iuFiEv2aY6p9CDceQqB0kEksJHD
        M6ztdrkV6RtPBpJjmxECQQCpRmDbiorezKcF4vkUgRbJHEWSfcdgZAHC4NxpqPAK
        ARY3GYIA9WGFySB6L2pJp09LfVnM1xHPrb0OKPOMCPUi
        -----END RSA PRIVATE KEY-----
        """
    /// The same key's SubjectPublicKeyInfo and RSAPublicKey, base64 of DER.
    static let rsa1024SPKI =
        "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDtldHl0aoJwjk7Qol3QVio3Iq5XUGwsW2d91Ufk4JB5bxS+gdHauJN4hUqkmoPilCL"
        + "nU0cMhx6yvY8VO+oI1lK4TFoSBnSwGcaYEzOXT8xZXMnL9/Q7sCBQ74pBy01urwJst0ABmmF9Ov8gatS7o/uV7S/T2GBcYfrrLZh5Zdy"
        + "kQIDAQAB"
    static let rsa1024PublicKey =
        "MIGJAoGBAO2V0eXRqgnCOTtCiXdBWKjcirldQbCxbZ33VR+TgkHlvFL6B0dq4k3iFSqSag+KUIudTRwyHHrK9jxU76gjWUrhMWhIGdLA"
        + "ZxpgTM5dPzFlcycv39DuwIFDvikHLTW6vAmy3QAGaYX06/yBq1Luj+5XtL9PYYFxh+ustmHll3KRAgMBAAE="
    static let rsa512 = """
        -----BEGIN PRIVATE KEY-----
        MIIBVQIBADANBgkqhkiG9w0BAQEFAASCAT8wggE7AgEAAkEA26dcyGEif0YWLk8I
        DTCdgmHAjWbRACjD/yePUaLB9d0oGuiROXd/63is18FFpw9PsSQY5xUCdaYonPGE
        SlT70QIDAQABAkEAtXV8u/kq45QF7PnTP/pClRymUup2jLgguuB2kM1xiOdDy5KO
        e/ZixyC4mrVdg4zkOdpMzcU70Ru+6H6D68/B5QIhAPnw9mmAYrUhL8hqKRfjTlV1
        3nNm4FX55LfWUeYU/kKLAiEA4PpykZIC2CoUY7R6WxFb6fBOPCDR1oziSeI50rrV
        EpMCIEKbZX9+GE/+1RYKvILCL6j0rWCBpP0kiEA5nD+9jni7AiAK6bsi+o0uxSPG
        DlwdDMODnod8/S6QlLbpVJLveOabBwIhAJ5OlCcut0CnTDigUFuJvdpqW5OSLFAZ
        n+AciIl3R91n
        -----END PRIVATE KEY-----
        """
    static let rsa512SPKI =
        "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBANunXMhhIn9GFi5PCA0wnYJhwI1m0QAow/8nj1GiwfXdKBrokTl3f+t4rNfBRacPT7EkGOcV"
        + "AnWmKJzxhEpU+9ECAwEAAQ=="
    static let ec = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFrQFDp3QO5FhYyVD
        dWbDYvyYoDSsv5yJAWsyx7AaEj6hRANCAAS80NxGxRSskpKAW9LBvXd26oX2twbn
        /5oWS6eyR1TO79La+17tTHm8qSA6tCVfa5t6ax61ea55qP4K8to59eEo
        -----END PRIVATE KEY-----
        """
    static let ecSPKI =
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvNDcRsUUrJKSgFvSwb13duqF9rcG5/+aFkunskdUzu/S2vte7Ux5vKkgOrQlX2ubemse"
        + "tXmueaj+CvLaOfXhKA=="
    static let ed448 = """
        -----BEGIN PRIVATE KEY-----
        MEcCAQAwBQYDK2VxBDsEOYPYsZpQhDdRpcuQs4WjFHD3d59K2B/rlEtx2y77Tpyc
        nrewISUgZq9nkEHoLT02LckPttfJwJbnTA==
        -----END PRIVATE KEY-----
        """
    /// PKCS#8, passphrase "x".
    static let encrypted = """
        -----BEGIN ENCRYPTED PRIVATE KEY-----
        MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiMHNp0I3Rl1wICCAAw
        DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEM0fwR+KHIzwaOnMICeviP8EQPzm
        Y7GK2ia6R2qI0sg29k6AjsFKCpj6BWLHFadmLZPjReHUH52lH24YuL5rNOJo3WPy
        gvQ7yy9yed6VDv0cgJE=
        -----END ENCRYPTED PRIVATE KEY-----
        """
    /// OpenSSL's older form, passphrase "x".
    static let encryptedPKCS1 = """
        -----BEGIN RSA PRIVATE KEY-----
        Proc-Type: 4,ENCRYPTED
        DEK-Info: AES-128-CBC,C26398620B1A7ADC61385D9FAF81B445

        l0hM4bqOpKodyVc9Y0bh8sIop7K8qE6UhJlREpmIqdLjdoKZyVlSg0aeFhBGsCbT
        5Ooj2TE+lrzwPJ4wjnP7lspjSDPKrvJoq1ytGD9P6+g=
        -----END RSA PRIVATE KEY-----
        """
    static let publicKey = """
        -----BEGIN PUBLIC KEY-----
        MCowBQYDK2VwAyEAzGShgHl84OdM4iFGqetqhV6362b82n1pJK0/tcepgCM=
        -----END PUBLIC KEY-----
        """
}
