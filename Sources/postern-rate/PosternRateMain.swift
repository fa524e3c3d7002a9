// postern-rate: limits by account, sender, domain, network, behind Postfix's check_policy_service. The way of a
// request: PosternPolicy's PolicyConnection -> LimitedMessage -> PosternAdmission's LimitJudge (asks the ledger) ->
// LimitVerdict -> PolicyConnection.

import PosternDaemon

@main
struct PosternRateMain {
    static func main() {
        Daemon.main(
            program: "postern-rate", purpose: ConfigurationRole.rate.purpose,
            role: .rate, start: RateDaemon.start)
    }
}
